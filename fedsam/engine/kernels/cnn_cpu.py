"""The gradient of a convolutional network that is a plain sequence of layers, written out.

Shapes: B batch, C channels, H height, W width, D inputs, U units, L classes, P parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from fedsam.engine.kernels.convolution import Convolution, Kept, relu_backward
from fedsam.engine.kernels.match import plain
from fedsam.engine.kernels.mlp import cross_entropy
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
        if d.dtype == out[0].dtype:
            torch.mm(d.T, x, out=out[0])
        else:
            out[0].copy_(d.T @ x)
        out[1].copy_(d.sum(dim=0))
        return None if first else d @ weight


@dataclass(frozen=True)
class Written:
    """Backpropagation through convolutions, pooling, ReLU and linear layers, and the softmax cross entropy.

    It is what autograd would do for the same module, with fewer passes over memory: bias and ReLU after the pooling,
    every derivative at its place in one vector, convolutions as products of Fourier coefficients where that pays.

    Args:
        stages: in turn.
        layout: of the parameters.
    """

    stages: tuple[Stage, ...]
    layout: Layout

    @classmethod
    def of(cls, module: nn.Module, layout: Layout) -> Written | None:
        """For this module, if it is a plain convolutional network."""
        layers = plain(module, layout)
        if layers is None:
            return None
        convolutions = [Convolution(layer.padding, layer.pool, layer.relu) for layer in layers if layer.kernel]
        linear = [Linear(layer.relu) for layer in layers if not layer.kernel]
        return cls((*convolutions, Flatten(), *linear), layout)

    def gradient(self, theta_P: Tensor, inputs_BCHW: Tensor, targets: Tensor, narrow: bool) -> tuple[Tensor, Tensor]:
        """(∇L, L) of the batch's mean loss.

        Args:
            targets: class indices [B] or probabilities [B, L].
            narrow: images, weights and what is between are bfloat16, as under autocast; loss and derivatives are not.
        """
        out_P = torch.empty_like(theta_P)
        outs, weights = self._cut(out_P), self._cut(theta_P.bfloat16() if narrow else theta_P)
        x, passed = inputs_BCHW.bfloat16() if narrow else inputs_BCHW, []
        for stage in self.stages:
            x, kept = stage.forward(x, tuple(next(weights) for _ in range(stage.parameters)))
            passed.append((stage, kept, tuple(next(outs) for _ in range(stage.parameters))))
        losses_KB, d_KBL = cross_entropy(x[None].to(theta_P.dtype), targets[None])
        d = d_KBL[0].div_(len(inputs_BCHW)).to(x.dtype)
        while passed:  # what a stage kept is freed once it has been used
            stage, kept, out = passed.pop()
            d = stage.backward(d, kept, out, not passed)  # type: ignore[assignment]
        return out_P, losses_KB.mean()

    def _cut(self, theta_P: Tensor) -> Iterator[Tensor]:
        pieces = torch.split(theta_P, self.layout.sizes)
        return (piece.view(shape) for piece, shape in zip(pieces, self.layout.shapes, strict=True))
