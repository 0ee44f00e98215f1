"""Experiments: what `fedsam` runs to answer a question. One question, one module."""

from fedsam.border.beside import same

same(__name__)
