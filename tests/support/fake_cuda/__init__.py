"""A CUDA device that is not there, on which nothing is computed: tensors on it have a shape, a type and a place alone.

What joins tensors of two devices raises, as it does on a real one; kernels, copies and waits are counted. It changes
torch for the whole process, so tests have it in a process of its own (`process.py`).
"""
