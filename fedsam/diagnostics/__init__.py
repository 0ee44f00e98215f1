"""Measurements of the clients' updates in the course of a run, one class each."""
