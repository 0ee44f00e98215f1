"""Gradients of the mini-batch loss, with and without autograd."""
