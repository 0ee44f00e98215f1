"""Slow and obvious versions of the methods, written from the papers: lists of tensors, float64, no code of fedsam's."""
