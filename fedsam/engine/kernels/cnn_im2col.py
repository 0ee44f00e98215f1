"""The gradient of a plain convolutional network for a block of clients, each with its own weights: unfold and bmm.

Shapes: K clients of a block, B batch, C and O channels in and out (of a linear layer numbers), H height, W width,
I × J a kernel, N = C·I·J numbers of a window, Q = H'·W'·B windows, L classes, P parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fedsam.engine.kernels.base import Head
from fedsam.engine.kernels.convolution import Kept, relu_backward
from fedsam.engine.kernels.match import Layer, plain
from fedsam.models.functional import Network
from fedsam.params import Layout


@dataclass(frozen=True)
class Im2ColConvolutions:
    """Backpropagation through convolutions, pooling, ReLU and linear layers.

    With X the windows of a layer's inputs (of a linear layer: the inputs), each client's y = W X + b, and

        dL/dW = d X^T,   dL/db = Σ_Q d,   dL/dX = W^T d

    each as one batched matrix product over the clients (Chellapilla et al., IWFHR 2006, for one network). Images lie as
    [K, C, H, W, B], the batch last: what a product gives is then the next layer's input as it stands, also after
    flattening; a row of windows is one piece of memory; and weights are views of theta. Which kernels run does not
    depend on the data, so that they can be captured once and replayed.

    Args:
        stages: in turn.
        layout: of the parameters.
        narrow: inputs, weights and what is between are bfloat16, as under autocast; loss and derivatives are not.
    """

    name: ClassVar[str] = "derived by hand for convolutional networks, by unfold and bmm"
    batched: ClassVar[bool] = True

    stages: tuple[Layer, ...]
    layout: Layout
    narrow: bool = False

    @classmethod
    def match(cls, network: Network, device: torch.device, precision: str) -> Im2ColConvolutions | None:
        """For plain convolutional networks on a GPU."""
        stages = plain(network.module, network.layout) if device.type == "cuda" else None
        return None if stages is None else cls(stages, network.layout, precision == "bf16")

    def takes(self, theta: Tensor, head: Head) -> bool:
        """Blocks of clients."""
        return head.block

    def gradient(self, theta: Tensor, inputs: Tensor, head: Head, *statistics: Tensor) -> tuple[Tensor, ...]:
        """(∇L, L) of each client's batch, [K, P] and [K], of inputs [K, B, C, H, W]."""
        theta_KP, narrow = theta, self.narrow
        out_KP = torch.empty(theta_KP.shape, dtype=theta_KP.dtype, device=theta_KP.device)
        outs, weights = self._cut(out_KP), self._cut(theta_KP.bfloat16() if narrow else theta_KP)
        x, passed = inputs.permute(0, 2, 3, 4, 1).to(weights[0][0].dtype).contiguous(), []
        for stage, (weight_KON, bias_KO) in zip(self.stages, weights, strict=True):
            x_KNQ, places = windows(x, stage)
            y = torch.bmm(weight_KON, x_KNQ).view(*bias_KO.shape, *places)
            y, parts = pooled(y) if stage.pool else (y, ())
            y = y.add_(bias_KO.view(*bias_KO.shape, *[1] * len(places)))  # fewer numbers than before pooling
            passed.append((x_KNQ, x.shape, parts, y))
            x = y.relu_() if stage.relu else y
        logits_KBL = x.transpose(1, 2).to(theta_KP.dtype)
        loss_K, d_KBL = head(logits_KBL)
        d = d_KBL.transpose(1, 2).to(x.dtype)
        while passed:
            x_KNQ, shape, parts, y = passed.pop()
            stage, weight_KON, (dw_KON, db_KO) = self.stages[len(passed)], weights[len(passed)][0], outs[len(passed)]
            # y is what ReLU has left, in place: above 0 just where its input was
            d = relu_backward(d, y, 0) if stage.relu else d
            # before it is unpooled: the bias was added after the pooling
            torch.sum(d.flatten(2), dim=2, dtype=db_KO.dtype, out=db_KO)
            d_KOQ = (unpooled(d, *parts) if stage.pool else d).flatten(2)
            if narrow:
                dw_KON.copy_(torch.bmm(d_KOQ, x_KNQ.transpose(1, 2)))
            else:
                torch.bmm(d_KOQ, x_KNQ.transpose(1, 2), out=dw_KON)
            del x_KNQ  # in its place comes the derivative by it
            if passed:
                d = folded(torch.bmm(weight_KON.transpose(1, 2), d_KOQ), stage, shape, theta_KP.dtype)
        return out_KP, loss_K

    def bytes_per_client(self, batch: int, shape: tuple[int, int, int], each: int = 4) -> int:
        """Memory for the windows of one client's batch, which those of all convolutions take at once; the derivatives
        by them come in their places. What there is beside windows is not counted.

        Args:
            batch: B.
            shape: of an image, (H, W, C).
            each: bytes of a number; 2 for bfloat16.
        """
        (height, width, _), numbers = shape, 0
        for stage, weight in zip(self.stages, self.layout.shapes[::2], strict=True):
            if stage.kernel is None:
                break
            (rows, columns), (up, left) = stage.kernel, stage.padding
            height, width = height + 2 * up - rows + 1, width + 2 * left - columns + 1
            numbers += math.prod(weight[1:]) * height * width * batch
            height, width = (height // 2, width // 2) if stage.pool else (height, width)
        return numbers * each

    def _cut(self, theta_KP: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights [K, O, N] and biases [K, O], as views."""
        pieces, shapes = torch.split(theta_KP, self.layout.sizes, dim=1), self.layout.shapes[::2]
        weights = (piece.view(len(piece), shape[0], -1) for piece, shape in zip(pieces[::2], shapes, strict=True))
        return list(zip(weights, pieces[1::2], strict=True))


def windows(x: Tensor, stage: Layer) -> tuple[Tensor, tuple[int, ...]]:
    """The windows of images [K, C, H, W, B], as [K, N, Q], and (H', W', B); for a linear layer the numbers as they are.

    One copy of a view, in which every window is whole: `torch.nn.functional.unfold` would be one kernel an image.
    """
    if stage.kernel is None:
        return x.flatten(1, -2), x.shape[-1:]
    (rows, columns), (up, left) = stage.kernel, stage.padding
    if up or left:
        x = F.pad(x, (0, 0, left, left, up, up))
    cut = x.unfold(2, rows, 1).unfold(3, columns, 1).permute(0, 1, 5, 6, 2, 3, 4)  # [K, C, I, J, H', W', B]
    places = cut.shape[4:]
    return cut.reshape(len(x), -1, places.numel()), places


def folded(d_KNQ: Tensor, stage: Layer, shape: torch.Size, exact: torch.dtype) -> Tensor:
    """The derivative by images of this shape, given that by their windows: added up over the rows of the kernel, then
    over its columns, by I + J kernels in a fixed order.

    Args:
        exact: type of the sums.
    """
    if stage.kernel is None:
        return d_KNQ.view(shape)
    (clients, channels, height, width, batch), (rows, columns), (up, left) = shape, stage.kernel, stage.padding
    high, wide = height + 2 * up, width + 2 * left
    lines, places = high - rows + 1, wide - columns + 1
    d = d_KNQ.view(clients, channels, rows, columns, lines, places, batch)
    tall = d.new_zeros(clients, channels, columns, high, places, batch, dtype=exact)
    for i in range(rows):
        tall[:, :, :, i : i + lines].add_(d[:, :, i])
    full = d.new_zeros(clients, channels, high, wide, batch, dtype=exact)
    for j in range(columns):
        full[:, :, :, j : j + places].add_(tall[:, :, j])
    return full[:, :, up : up + height, left : left + width].to(d.dtype)


def pooled(x: Tensor) -> tuple[Tensor, Kept]:
    """Of images [K, C, H, W, B]: the largest of each window of 2×2; how much the right is larger than the left one, and
    of these pairs the lower than the upper. Of equal numbers the first is the largest, as in torch.
    """
    height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    left, right = (x[:, :, :height, i:width:2] for i in (0, 1))
    across, pairs = right - left, torch.maximum(left, right)
    upper, lower = (pairs[:, :, i::2] for i in (0, 1))
    return torch.maximum(upper, lower), (across, lower - upper, x.shape[2:4])


def unpooled(d: Tensor, across: Tensor, down: Tensor, sides: torch.Size) -> Tensor:
    """The derivative by what was pooled."""
    (height, width), pairs = sides, torch.empty_like(across)
    upper, lower = (pairs[:, :, i::2] for i in (0, 1))
    # d where the lower is larger, strictly: of equal ones the first has it; the rest is the other's
    relu_backward.grad_input(d, down, 0, grad_input=lower)
    torch.sub(d, lower, out=upper)
    found = d.new_zeros(*d.shape[:2], height, width, d.shape[-1])
    left, right = (found[:, :, : height // 2 * 2, i : width // 2 * 2 : 2] for i in (0, 1))
    relu_backward.grad_input(pairs, across, 0, grad_input=right)
    torch.sub(pairs, right, out=left)
    return found
