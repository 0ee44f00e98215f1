"""The gradient of a convolutional network that is a plain sequence of layers, derived by hand, on a CPU.

Shapes: B batch, C channels, H height, W width, D inputs, U units, P parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from fedsam.engine.kernels.base import Head
from fedsam.engine.kernels.convolution import Convolution, Kept, relu_backward
from fedsam.engine.kernels.match import plain
from fedsam.models.functional import Network
from fedsam.params import Layout


class Stage(Protocol):
    """Some layers that are computed together, with a weight and a bias or without parameters."""

    @property
    def parameters(self) -> int:
        """How many tensors."""

    def forward(self, x: Tensor, parameters: tuple[Tensor, ...]) -> tuple[Tensor, Kept]:
        """The output, and what `backward` needs."""

    def backward(self, d: Tensor, kept: Kept, out: tuple[Tensor, ...], first: bool) -> Tensor | None:
        """The derivative by x, given that by the output; those by the parameters are written to `out`.

        Args:
            first: nobody needs the derivative by x.
        """


@dataclass(frozen=True)
class Flatten:
    """[B, C, H, W] to [B, C·H·W]."""

    parameters: int = 0

    def forward(self, x: Tensor, parameters: tuple[Tensor, ...]) -> tuple[Tensor, Kept]:
        """The vectors."""
        return x.flatten(1), (x.shape,)

    def backward(self, d: Tensor, kept: Kept, out: tuple[Tensor, ...], first: bool) -> Tensor | None:
        """The derivative."""
        return d.view(kept[0])


@dataclass(frozen=True)
class Linear:
    """A linear layer, then ReLU if there is one."""

    relu: bool
    parameters: int = 2

    def forward(self, x: Tensor, parameters: tuple[Tensor, ...]) -> tuple[Tensor, Kept]:
        """[B, D] to [B, U]."""
        weight, bias = parameters
        y = torch.addmm(bias, x, weight.T)
        return (y.relu_() if self.relu else y), (x, weight, y)

    def backward(self, d: Tensor, kept: Kept, out: tuple[Tensor, ...], first: bool) -> Tensor | None:
        """The derivatives."""
        x, weight, y = kept
        d = relu_backward(d, y, 0) if self.relu else d
        # a product in bfloat16 cannot be written where float32 is kept
        if d.dtype == out[0].dtype:
            torch.mm(d.T, x, out=out[0])
        else:
            out[0].copy_(d.T @ x)
        out[1].copy_(d.sum(dim=0))
        return None if first else d @ weight


@dataclass(frozen=True)
class CPUConvolutions:
    """Backpropagation through convolutions, pooling, ReLU and linear layers.

    It is what autograd would do for the same module, with fewer passes over memory: bias and ReLU after the pooling,
    every derivative at its place in one vector, convolutions as products of Fourier coefficients where that pays.

    Args:
        stages: in turn.
        layout: of the parameters.
        narrow: inputs, weights and what is between are bfloat16, as under autocast; loss and derivatives are not.
    """

    name: ClassVar[str] = "derived by hand for convolutional networks"
    batched: ClassVar[bool] = False

    stages: tuple[Stage, ...]
    layout: Layout
    narrow: bool = False

    @classmethod
    def match(cls, network: Network, device: torch.device, precision: str) -> CPUConvolutions | None:
        """For plain convolutional networks on a CPU."""
        layers = plain(network.module, network.layout) if device.type == "cpu" else None
        if layers is None:
            return None
        convolutions = [Convolution(layer.padding, layer.pool, layer.relu) for layer in layers if layer.kernel]
        linear = [Linear(layer.relu) for layer in layers if not layer.kernel]
        return cls((*convolutions, Flatten(), *linear), network.layout, precision == "bf16")

    def takes(self, theta: Tensor, head: Head) -> bool:
        """One client's whole batches."""
        return not head.block and head.valid is None

    def gradient(self, theta: Tensor, inputs: Tensor, head: Head, *statistics: Tensor) -> tuple[Tensor, ...]:
        """(∇L, L) of the batch's mean loss, of inputs [B, C, H, W]."""
        # each stage writes its own places, and together they are all of it
        out_P = torch.empty_like(theta)
        outs, weights = self._cut(out_P), self._cut(theta.bfloat16() if self.narrow else theta)
        x, passed = inputs.bfloat16() if self.narrow else inputs, []
        for stage in self.stages:
            x, kept = stage.forward(x, tuple(next(weights) for _ in range(stage.parameters)))
            passed.append((stage, kept, tuple(next(outs) for _ in range(stage.parameters))))
        loss, d = head(x.to(theta.dtype))
        d = d.to(x.dtype)
        while passed:  # what a stage kept is freed once it has been used
            stage, kept, out = passed.pop()
            d = stage.backward(d, kept, out, not passed)  # type: ignore[assignment]
        return out_P, loss

    def _cut(self, theta_P: Tensor) -> Iterator[Tensor]:
        pieces = torch.split(theta_P, self.layout.sizes)
        return (piece.view(shape) for piece, shape in zip(pieces, self.layout.shapes, strict=True))
