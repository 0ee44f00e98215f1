"""Experiments: what `fedsam` runs to answer a question. One question, one module."""
