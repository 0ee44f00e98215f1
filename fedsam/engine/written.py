"""The gradient of a convolutional network that is a plain sequence of layers, written out.

Shapes: B batch, C and O channels in and out, H height, W width, D inputs, U units, L classes, P parameters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fedsam.engine.dense import HOOKS, cross_entropy
from fedsam.engine.fourier import Fourier
from fedsam.params import Layout

Kept = tuple[Any, ...]
PARAMETRIC = (nn.Conv2d, nn.Linear)
TOGETHER = 16  # images that are convolved and pooled at once: what is between lies in a near cache
relu_backward = torch.ops.aten.threshold_backward
max_pool = torch.ops.aten.max_pool2d_with_indices
max_pool_backward = torch.ops.aten.max_pool2d_with_indices_backward
convolution_backward = torch.ops.aten.convolution_backward


class Stage(Protocol):
    """Some layers that are computed together, with a weight and a bias or without parameters."""

    parameters: int

    def forward(self, x: Tensor, parameters: tuple[Tensor, ...]) -> tuple[Tensor, Kept]:
        """The output, and what `backward` needs."""

    def backward(self, d: Tensor, kept: Kept, out: tuple[Tensor, ...], first: bool) -> Tensor | None:
        """The derivative by x, given that by the output; those by the parameters are written to `out`.

        Args:
            first: nobody needs the derivative by x.
        """


@dataclass(frozen=True)
class Convolution:
    """A convolution of stride 1, then max pooling 2×2 and ReLU, each if there is one.

    max and ReLU commute, and so do max and the addition of a bias; both come after the pooling, where a quarter of the
    numbers is left, whichever came first in the module.
    """

    padding: tuple[int, int]
    pool: bool
    relu: bool
    parameters: int = 2

    def forward(self, x: Tensor, parameters: tuple[Tensor, ...]) -> tuple[Tensor, Kept]:
        """[B, C, H, W] to [B, O, H', W']."""
        weight, bias = parameters
        fourier, kept = self._fourier(x, weight), ()
        if fourier is not None:
            z, coefficients = fourier.forward(x, weight)
            y, kept = _pooled_places(z) if self.pool else (z, ())
            kept = coefficients, *kept
        else:
            x = x.contiguous(memory_format=torch.channels_last)
            y, kept = self._direct(x, weight)
            kept = x, *kept
        y = y.add_(bias[:, None, None])
        y = y.relu_() if self.relu else y
        return y, (fourier, weight, y, *kept)

    def backward(self, d: Tensor, kept: Kept, out: tuple[Tensor, ...], first: bool) -> Tensor | None:
        """The derivatives."""
        fourier, weight, y, of_x, *pooled = kept
        if fourier is None:
            d = d.contiguous(memory_format=torch.channels_last)
        if self.relu:
            d = relu_backward(d, y, 0)
        out[1].copy_(d.sum(dim=(0, 2, 3)))
        if fourier is None:
            dx, dw = self._direct_backward(d, of_x, weight, pooled, first)
        else:
            dx, dw = fourier.backward(_unpooled_places(d, *pooled) if self.pool else d, of_x)
        out[0].flatten(2).flatten(0, 1).copy_(dw.flatten(2).flatten(0, 1))
        return dx

    def _direct(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Kept]:
        if not self.pool:
            return torch.conv2d(x, weight, padding=self.padding), ()
        side, outputs = [n + 2 * p - k + 1 for n, p, k in zip(x.shape[2:], self.padding, weight.shape[2:], strict=True)], len(weight)
        half = len(x), outputs, side[0] // 2, side[1] // 2
        y, index = (torch.empty(half, memory_format=torch.channels_last, dtype=t) for t in (x.dtype, torch.int64))
        for rows in range(0, len(x), TOGETHER):
            part = slice(rows, rows + TOGETHER)
            z = torch.conv2d(x[part], weight, padding=self.padding)
            max_pool.out(z, [2, 2], out=y[part], indices=index[part])
        return y, (index, (outputs, *side))

    def _direct_backward(self, d: Tensor, x: Tensor, weight: Tensor, pooled: list[Any], first: bool) -> tuple[Tensor | None, Tensor]:
        how = [1, 1], self.padding, [1, 1], False, [0, 0], 1, [not first, True, False]
        if not self.pool:
            return convolution_backward(d, x, weight, None, *how)[:2]
        index, shape = pooled
        found = []
        for rows in range(0, len(x), TOGETHER):
            part = slice(rows, rows + TOGETHER)
            like = torch.empty((len(x[part]), *shape), dtype=d.dtype, memory_format=torch.channels_last)
            e = max_pool_backward(d[part], like, [2, 2], [2, 2], [0, 0], [1, 1], False, index[part])
            found.append(convolution_backward(e, x[part], weight, None, *how)[:2])
        dx = None if first else torch.cat([dx for dx, _ in found])
        return dx, sum(dw for _, dw in found)

    def _fourier(self, x: Tensor, weight: Tensor) -> Fourier | None:
        (batch, inputs, height, width), (outputs, _, kernel, other) = x.shape, weight.shape
        if any(self.padding) or height != width or kernel != other or height < kernel or kernel == 1:
            return None
        found = Fourier(height, kernel)
        return found if found.pays(batch, inputs, outputs, x.dtype) else None


def _quarters(x: Tensor) -> list[Tensor]:
    """The four places of each window of 2×2 pixels."""
    height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    return [x[:, :, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]


def _pooled_places(x: Tensor) -> tuple[Tensor, Kept]:
    """Of images whose numbers of one place lie together: the largest of each window; how much the right is larger than
    the left one, above and below, and the lower than the upper. Of equal numbers the first is the largest, as in torch.
    """
    (batch, channels, height, width) = x.shape
    a, b, c, d = _quarters(x)

    def new() -> Tensor:
        return x.new_empty(height // 2, width // 2, batch, channels).permute(2, 3, 0, 1)

    right, other_right = torch.sub(b, a, out=new()), torch.sub(d, c, out=new())
    upper, lower = torch.maximum(a, b, out=new()), torch.maximum(c, d, out=new())
    down = lower - upper
    return torch.maximum(upper, lower, out=upper), (right, other_right, down, (height, width))


def _unpooled_places(d: Tensor, right: Tensor, other_right: Tensor, down: Tensor, sides: tuple[int, int]) -> Tensor:
    """The derivative by what was pooled, whose numbers of one place lie together."""
    found = d.new_zeros(*sides, *d.shape[:2]).permute(2, 3, 0, 1)
    places = _quarters(found)
    lower = relu_backward(d, down, 0)
    for half, more, left, across in ((d - lower, right, *places[:2]), (lower, other_right, *places[2:])):
        relu_backward.grad_input(half, more, 0, grad_input=across)
        torch.sub(half, across, out=left)
    return found


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
        """For this module, if it is such a network with at least one convolution."""
        hooked = any(getattr(part, hooks) for part in module.modules() for hooks in HOOKS)
        if type(module) is not nn.Sequential or hooked or not any(type(layer) is nn.Conv2d for layer in module):
            return None
        stages = tuple(_stages(list(module)))
        named = [name for name, layer in module.named_children() if type(layer) in PARAMETRIC]
        names = tuple(f"{name}.{kind}" for name in named for kind in ("weight", "bias"))
        if None in stages or names != layout.names or not isinstance(stages[-1], Linear) or stages[-1].relu:
            return None
        return cls(stages, layout)  # type: ignore[arg-type]

    def gradient(self, theta_P: Tensor, inputs_BCHW: Tensor, targets: Tensor, narrow: bool) -> tuple[Tensor, Tensor]:
        """(∇L, L) of the batch's mean loss.

        Args:
            targets: class indices [B] or probabilities [B, L].
            narrow: images, weights and what is between are bfloat16, as under autocast; loss and derivatives are not.
        """
        out_P = torch.empty_like(theta_P)
        outs, weights = iter(self._cut(out_P)), iter(self._cut(theta_P.bfloat16() if narrow else theta_P))
        x, passed = inputs_BCHW.bfloat16() if narrow else inputs_BCHW, []
        for stage in self.stages:
            x, kept = stage.forward(x, tuple(next(weights) for _ in range(stage.parameters)))
            passed.append((stage, kept, tuple(next(outs) for _ in range(stage.parameters))))
        losses_KB, d_KBL = cross_entropy(x[None].to(theta_P.dtype), targets[None])
        d = d_KBL[0].div_(len(inputs_BCHW)).to(x.dtype)
        for place, (stage, kept, out) in reversed(list(enumerate(passed))):
            d = stage.backward(d, kept, out, place == 0)  # type: ignore[assignment]
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
    usual = layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return usual and layer.stride == once and layer.dilation == once


def _halves(layer: nn.Module) -> bool:
    """Whether it is max pooling 2×2."""
    if type(layer) is not nn.MaxPool2d or layer.ceil_mode or layer.return_indices:
        return False
    return [_pair(size) for size in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)] == [
        (2, 2),
        (2, 2),
        (0, 0),
        (1, 1),
    ]


def _pair(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else tuple(size)
