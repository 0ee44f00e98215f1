"""Averages of weights over rounds: which model is served."""
