"""What of a model is trained, and what is put into it to be trained. One adapter, one module."""
