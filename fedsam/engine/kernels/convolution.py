"""One convolution of a network whose gradient is written out, with the pooling and ReLU after it.

Shapes: B batch, C and O channels in and out, H height, W width, K side of the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fedsam.engine.kernels.fourier import Fourier

TOGETHER = 16  # images that are convolved and pooled at once: what is between lies in a near cache
LAST = torch.channels_last

Kept = tuple[Any, ...]

relu_backward = torch.ops.aten.threshold_backward
max_pool = torch.ops.aten.max_pool2d_with_indices
max_pool_backward = torch.ops.aten.max_pool2d_with_indices_backward
convolution_backward = torch.ops.aten.convolution_backward


@dataclass(frozen=True)
class Convolution:
    """A convolution of stride 1 with a bias, then max pooling 2×2 and ReLU, each if there is one.

    max and ReLU commute: ReLU comes after the pooling, where a quarter of the numbers is left, whichever came first in
    the module. The convolution is a product of Fourier coefficients where that pays; then the bias, too, comes last.
    """

    padding: tuple[int, int]
    pool: bool
    relu: bool
    parameters: int = 2

    def forward(self, x: Tensor, parameters: tuple[Tensor, ...]) -> tuple[Tensor, Kept]:
        """[B, C, H, W] to [B, O, H', W'], and what `backward` needs."""
        weight, bias = parameters
        fourier = self._fourier(x, weight)
        if fourier is None:
            of_x: Any = x.contiguous(memory_format=LAST)
            y, pooled = self._direct(of_x, weight, bias)
        else:
            y, of_x = fourier.forward(x, weight)
            y, pooled = pooled_places(y) if self.pool else (y, ())
            y = y.add_(bias[:, None, None])
        return (y.relu_() if self.relu else y), (fourier, of_x, weight, y, pooled)

    def backward(self, d: Tensor, kept: Kept, out: tuple[Tensor, ...], first: bool) -> Tensor | None:
        """The derivative by x, given that by the output; those by weight and bias are written to `out`.

        Args:
            first: nobody needs the derivative by x.
        """
        fourier, of_x, weight, y, pooled = kept
        if fourier is None:
            d = d.contiguous(memory_format=LAST)
        if self.relu:
            d = relu_backward(d, y, 0)
        out[1].copy_(d.sum(dim=(0, 2, 3)))
        if fourier is None:
            dx, dw = self._direct_backward(d, of_x, weight, pooled, first)
        else:
            dx, dw = fourier.backward(unpooled_places(d, *pooled) if self.pool else d, of_x)
        out[0].flatten(2).flatten(0, 1).copy_(dw.flatten(2).flatten(0, 1))
        return dx

    def _fourier(self, x: Tensor, weight: Tensor) -> Fourier | None:
        (batch, inputs, height, width), (outputs, _, kernel, other) = x.shape, weight.shape
        if any(self.padding) or height != width or kernel != other or not 1 < kernel <= height - self.pool:
            return None  # among others what has no output, of which torch will say so
        found = Fourier(height, kernel)
        return found if found.pays(batch, inputs, outputs) else None

    def _direct(self, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Kept]:
        if not self.pool:
            return torch.conv2d(x, weight, bias, padding=self.padding), ()
        sides = [x.shape[i] + 2 * self.padding[i - 2] - weight.shape[i] + 1 for i in (2, 3)]
        shape = len(x), len(weight), sides[0] // 2, sides[1] // 2
        y, index = (torch.empty(shape, memory_format=LAST, dtype=dtype) for dtype in (x.dtype, torch.int64))
        for part in _parts(len(x)):
            z = torch.conv2d(x[part], weight, bias, padding=self.padding)
            max_pool.out(z, [2, 2], out=y[part], indices=index[part])
        return y, (index, (len(weight), *sides))

    def _direct_backward(
        self, d: Tensor, x: Tensor, weight: Tensor, pooled: Kept, first: bool
    ) -> tuple[Tensor | None, Tensor]:
        how = [1, 1], self.padding, [1, 1], False, [0, 0], 1, [not first, True, False]
        if not self.pool:
            dx, dw, _ = convolution_backward(d, x, weight, None, *how)
            return dx, dw
        (index, shape), dxs, dws = pooled, [], []
        for part in _parts(len(x)):
            like = torch.empty((len(x[part]), *shape), dtype=d.dtype, memory_format=LAST)  # never read
            e = max_pool_backward(d[part], like, [2, 2], [2, 2], [0, 0], [1, 1], False, index[part])
            dx, dw, _ = convolution_backward(e, x[part], weight, None, *how)
            dxs.append(dx)
            dws.append(dw)
        return None if first else torch.cat(dxs), torch.stack(dws).sum(dim=0)


def _parts(images: int) -> Iterator[slice]:
    return (slice(begin, begin + TOGETHER) for begin in range(0, images, TOGETHER))


def _quarters(x: Tensor) -> list[Tensor]:
    """The four places of each window of 2×2 pixels."""
    height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    return [x[:, :, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]


def pooled_places(x: Tensor) -> tuple[Tensor, Kept]:
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


def unpooled_places(d: Tensor, right: Tensor, other_right: Tensor, down: Tensor, sides: tuple[int, int]) -> Tensor:
    """The derivative by what was pooled, whose numbers of one place lie together."""
    found = d.new_zeros(*sides, *d.shape[:2]).permute(2, 3, 0, 1)
    places = _quarters(found)
    lower = relu_backward(d, down, 0)
    for half, more, left, across in ((d - lower, right, *places[:2]), (lower, other_right, *places[2:])):
        relu_backward.grad_input(half, more, 0, grad_input=across)
        torch.sub(half, across, out=left)
    return found
