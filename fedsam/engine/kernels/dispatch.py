"""Which kernels compute the gradients of a network: those that match it, the fastest first."""

from __future__ import annotations

import torch

from fedsam.engine.kernels.autograd import Autograd
from fedsam.engine.kernels.base import Kernel
from fedsam.engine.kernels.cnn_cpu import CPUConvolutions
from fedsam.engine.kernels.cnn_im2col import Im2ColConvolutions
from fedsam.engine.kernels.mlp import Perceptron
from fedsam.models.functional import Network

KERNELS: tuple[type[Kernel], ...] = (Perceptron, CPUConvolutions, Im2ColConvolutions, Autograd)
"""In this order the first is used that matches a network and takes what it is given; autograd always does."""


def kernels_of(network: Network, device: torch.device, precision: str) -> tuple[Kernel, ...]:
    """Those that match a network."""
    found = (kernel.match(network, device, precision) for kernel in KERNELS)
    return tuple(kernel for kernel in found if kernel is not None)
