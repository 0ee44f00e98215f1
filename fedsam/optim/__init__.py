"""Client optimisers: how a client turns gradients into steps. One optimiser, one module."""
