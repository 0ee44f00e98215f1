"""Evaluations of clients in the course of a run, one class each."""
