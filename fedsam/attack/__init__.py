"""Attacks on the inputs of a model, one class each."""
