"""Gradients by torch's automatic differentiation, of every network.

Shapes: K clients of a block, B batch, P parameters, S statistics of batch normalisation.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import vmap

from fedsam.engine.kernels.base import Each, Head
from fedsam.models.attention import PlainAttention
from fedsam.models.functional import Network
from fedsam.models.narrow import NarrowConvolutions


@dataclass(frozen=True)
class Autograd:
    """One backward pass through the loss; of a block through the sum of its clients' losses, the forward pass under
    `torch.func.vmap`.

    The same as `torch.func.grad_and_value`, whose first use imports torch's compiler (three seconds), and which under
    vmap records and replays every operation.

    Args:
        network: the module as a function.
        narrow: bfloat16 by autocast on this kind of device; None = everything in the type of the parameters.
    """

    name: ClassVar[str] = "autograd"
    batched: ClassVar[bool] = True

    network: Network
    narrow: str | None = None

    @classmethod
    def match(cls, network: Network, device: torch.device, precision: str) -> Autograd:
        """For every network."""
        return cls(network, device.type if precision == "bf16" else None)

    def takes(self, theta: Tensor, head: Head) -> bool:
        """Everything."""
        return True

    def gradient(
        self, theta: Tensor, inputs: Tensor, head: Head, *statistics: Tensor, key: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """By theta.

        Args:
            key: of what the network draws, [2] or of a block [K, 2].
        """
        with torch.enable_grad():
            leaf = theta.detach().requires_grad_()
            loss, *after = self._loss(leaf, inputs, head, key, *statistics)
            (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        return gradient, loss.detach(), *after

    def by_inputs(
        self, theta: Tensor, inputs: Tensor, head: Head, *statistics: Tensor, key: Tensor | None = None
    ) -> Tensor:
        """The gradient by the inputs instead."""
        with torch.enable_grad():
            leaf = inputs.detach().requires_grad_()
            loss, *_ = self._loss(theta, leaf, head, key, *statistics)
            return torch.autograd.grad(loss.sum(), leaf)[0]

    def losses(
        self, theta: Tensor, inputs: Tensor, head: Head, *statistics: Tensor, key: Tensor | None = None
    ) -> Tensor:
        """Each example's own mean loss in training, [B] or of a block [K, B]; nothing is differentiated."""
        with torch.no_grad():
            return self._loss(theta, inputs, Each(**vars(head)), key, *statistics)[0]

    def outputs(
        self, theta_P: Tensor, inputs: Tensor, valid_B: Tensor | None, key: Tensor | None, *statistics: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What the network gives in training for one client's batch, the main output first; and the statistics after
        it, [S].

        Args:
            valid_B: which examples are valid, for batch normalisation; None = all.
            key: of what the network draws, [2].
            statistics: [S] before this batch, of a model with batch normalisation.
        """
        norms = self.network.norms
        if norms is None:
            return self._called(theta_P, inputs, key), ()
        with norms.training(statistics[0], valid_B) as done:
            outputs = self._called(theta_P, inputs, key)
        return outputs, (norms.after(done),)

    def _called(self, theta_P: Tensor, inputs: Tensor, key: Tensor | None) -> tuple[Tensor, ...]:
        with self._autocast():
            outputs = self.network.trained(theta_P, inputs, key)
        return tuple(each.to(theta_P.dtype) for each in outputs)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.narrow is None:
            return nullcontext()
        return torch.autocast(self.narrow, dtype=torch.bfloat16, cache_enabled=False)

    def _loss(
        self, theta: Tensor, inputs: Tensor, head: Head, key: Tensor | None, *statistics: Tensor
    ) -> tuple[Tensor, ...]:
        def one(
            theta_P: Tensor,
            inputs: Tensor,
            targets: Tensor,
            count: Tensor,
            valid_B: Tensor | None,
            key: Tensor | None,
            *statistics: Tensor,
        ) -> tuple[Tensor, ...]:
            own = replace(head, targets=targets, count=count, valid=valid_B, block=False)
            outputs, after = self.outputs(theta_P, inputs, valid_B, key, *statistics)
            return own.loss(*outputs), *after

        given = theta, inputs, head.targets, head.count, head.valid, key, *statistics
        if not head.block:
            return one(*given)  # type: ignore[arg-type]
        rows = tuple(0 if isinstance(each, Tensor) else None for each in given)
        block: Callable[..., tuple[Tensor, ...]] = vmap(one, in_dims=rows)
        with ExitStack() as around:
            if self.network.attends:
                around.enter_context(PlainAttention())
            if self.narrow is not None:
                around.enter_context(NarrowConvolutions())
            return block(*given)
