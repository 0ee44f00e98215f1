"""Measurements of a model in the course of a run, one class each."""
