"""Kernels on networks of classification, as the tests ask them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812

from fedsam.engine.kernels.base import Head, Kernel
from fedsam.models.functional import Network
from fedsam.params import Layout, layout_of
from fedsam.tasks.classification import Classification

K = TypeVar("K", bound=Kernel)


def matched(
    kind: type[K], module: nn.Module, layout: Layout | None = None, device: str = "cpu", precision: str = "fp32"
) -> K | None:
    """The kernel for this module; None if it is not for it."""
    network = Network(module, layout if layout is not None else layout_of(module))
    return kind.match(network, torch.device(device), precision)


def alone(kernel: Kernel, theta_P: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient and loss of one client's batch."""
    gradient_P, loss = kernel.gradient(theta_P, inputs, Head(Classification(), targets, float(len(targets))))
    return gradient_P, loss


def in_block(
    kernel: Kernel, theta_KP: Tensor, inputs: Tensor, targets: Tensor, count: Any, valid_KB: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Gradients and losses of a block's batches."""
    gradient_KP, loss_K = kernel.gradient(theta_KP, inputs, Head(Classification(), targets, count, valid_KB, True))
    return gradient_KP, loss_K


def by_autograd(
    module: nn.Module, theta_P: Tensor, inputs: Tensor, targets: Tensor, narrow: bool = False
) -> tuple[Tensor, Tensor]:
    """Gradient and loss of one client's valid samples as autograd has them; `narrow` is in bfloat16."""
    leaf = theta_P.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=narrow):
        logits = functional_call(module, layout_of(module).views(leaf), (inputs,))
    loss = F.cross_entropy(logits.to(leaf.dtype), targets)
    return torch.autograd.grad(loss, leaf)[0], loss.detach()


def seed_weights(modules: Iterable[nn.Module]) -> None:
    """Give each module weights of torch's usual size, the same in every process."""
    for module in modules:
        for number, weights in enumerate(module.parameters()):
            bound = weights[0].numel() ** -0.5
            nn.init.uniform_(weights, -bound, bound, generator=torch.Generator().manual_seed(number))
