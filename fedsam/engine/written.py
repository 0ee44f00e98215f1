"""The gradient of a convolutional network that is a plain sequence of layers, written out.

Shapes: B batch, C channels, H height, W width, D inputs, U units, L classes, P parameters.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from fedsam.engine.convolution import Convolution, Kept, relu_backward
from fedsam.engine.dense import cross_entropy, untouched
from fedsam.params import Layout

PARAMETRIC = (nn.Conv2d, nn.Linear)


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


SIGNS = {Convolution: "c", Flatten: "f", Linear: "l"}


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
        """For this module, if it is such a network: convolutions, each perhaps with pooling and ReLU, flatten, linear
        layers with ReLU between them.
        """
        if type(module) is not nn.Sequential or not untouched(module):
            return None
        stages = tuple(_stages(list(module)))
        order = "".join(SIGNS.get(type(stage), "?") for stage in stages)
        if not re.fullmatch("c+fl+", order) or stages[-1] != Linear(relu=False):
            return None
        named = [name for name, layer in module._modules.items() if type(layer) in PARAMETRIC]
        if tuple(f"{name}.{kind}" for name in named for kind in ("weight", "bias")) != layout.names:
            return None  # a parameter is missing, a constant, or in two layers
        return cls(tuple(stage for stage in stages if stage is not None), layout)

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


def _stages(layers: list[nn.Module]) -> Iterator[Stage | None]:
    """The stages of a sequence of layers; None for what is none."""
    rest = deque(layers)
    while rest:
        layer = rest.popleft()
        after: set[type[nn.Module]] = set()
        while type(layer) in PARAMETRIC and rest and _may_follow(rest[0], layer, after):
            after.add(type(rest.popleft()))
        pool, relu = nn.MaxPool2d in after, nn.ReLU in after
        if type(layer) is nn.Conv2d and _plain(layer):
            yield Convolution((int(layer.padding[0]), int(layer.padding[1])), pool, relu)
        elif type(layer) is nn.Linear:
            yield Linear(relu)
        elif type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1):
            yield Flatten()
        else:
            yield None


def _may_follow(layer: nn.Module, first: nn.Module, after: set[type[nn.Module]]) -> bool:
    """Whether a layer can be computed together with the one that it follows."""
    pools = type(first) is nn.Conv2d and _halves(layer)
    return (type(layer) is nn.ReLU or pools) and type(layer) not in after


def _plain(layer: nn.Conv2d) -> bool:
    once = (1, 1)
    usual = layer.groups == 1 and layer.padding_mode == "zeros" and isinstance(layer.padding, tuple)
    return usual and len(layer.padding) == 2 and layer.stride == once and layer.dilation == once


def _halves(layer: nn.Module) -> bool:
    """Whether it is max pooling 2×2."""
    if type(layer) is not nn.MaxPool2d or layer.ceil_mode or layer.return_indices:
        return False
    sizes = layer.kernel_size, layer.stride, layer.padding, layer.dilation
    return [_pair(size) for size in sizes] == [(2, 2), (2, 2), (0, 0), (1, 1)]


def _pair(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else tuple(size)
