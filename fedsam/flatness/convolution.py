"""Convolutions whose second derivatives use the kernels of the first.

torch takes them by transposed convolutions with batch and channels exchanged, and takes the derivative by the input of
a first layer, which nobody asks for. Measured on the CNN of Caldarola et al. 2022 and a CPU (128 images, one thread), a
product with the Hessian takes 0.79 of the time so, which is that of two gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

Settings = tuple[list[int], list[int], list[int], int]
"""Stride, padding, dilation, groups."""


class FastConvolution(TorchFunctionMode):
    """Inside, `conv2d` is computed so, in this thread alone."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The function, or what stands in its place."""
        kwargs = kwargs or {}
        return _conv2d(*args, **kwargs) if func is F.conv2d else func(*args, **kwargs)


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    if isinstance(padding, str) or input.dim() != 4:
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    settings = (_pair(stride), _pair(padding), _pair(dilation), groups)
    return _Convolution.apply(input, weight, bias, settings)  # type: ignore[no-any-return]


class _Convolution(Function):
    """y = x * w + b."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, settings: Settings) -> Tensor:
        """y."""
        ctx.save_for_backward(x, w)
        ctx.settings, ctx.biased = settings, b is not None
        return _forward(x, w, b, settings)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        """dx, dw, db."""
        x, w = ctx.saved_tensors
        mask = (ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.biased and ctx.needs_input_grad[2])
        found = _Backward.apply(dy, x, w, ctx.settings, mask)
        return *(each if asked else None for each, asked in zip(found, mask, strict=True)), None


class _Backward(Function):
    """(dx, dw, db) of dy, x and w."""

    @staticmethod
    def forward(
        ctx: Any, dy: Tensor, x: Tensor, w: Tensor, settings: Settings, mask: tuple[bool, bool, bool]
    ) -> tuple[Tensor | None, ...]:
        """dx, dw, db; None for what is not asked for."""
        ctx.save_for_backward(dy, x, w)
        ctx.settings = settings
        ctx.set_materialize_grads(False)
        return _backward(dy, x, w, settings, mask)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, ddx: Tensor | None, ddw: Tensor | None, ddb: Tensor | None) -> Any:
        """The derivatives by dy, x and w of ⟨ddx, dx⟩ + ⟨ddw, dw⟩ + ⟨ddb, db⟩, which is linear in each of the three."""
        dy, x, w = ctx.saved_tensors  # type: ignore[attr-defined]
        settings: Settings = ctx.settings  # type: ignore[attr-defined]
        by_dy, by_x, by_w = ctx.needs_input_grad[:3]  # type: ignore[attr-defined]
        through_dy: Tensor | None = None
        if by_dy:
            parts = [] if ddx is None else [_forward(ddx, w, None, settings)]
            parts += [] if ddw is None else [_forward(x, ddw, None, settings)]
            parts += [] if ddb is None else [ddb.view(1, -1, 1, 1).expand_as(dy)]
            through_dy = sum(parts[1:], parts[0]) if parts else None
        through_x = _backward(dy, x, ddw, settings, (True, False, False))[0] if by_x and ddw is not None else None
        through_w = _backward(dy, ddx, w, settings, (False, True, False))[1] if by_w and ddx is not None else None
        return through_dy, through_x, through_w, None, None


def _forward(x: Tensor, w: Tensor, b: Tensor | None, settings: Settings) -> Tensor:
    stride, padding, dilation, groups = settings
    y: Tensor = torch.ops.aten.convolution(x, w, b, stride, padding, dilation, False, [0, 0], groups)
    return y


def _backward(
    dy: Tensor, x: Tensor, w: Tensor, settings: Settings, mask: tuple[bool, bool, bool]
) -> tuple[Tensor | None, ...]:
    stride, padding, dilation, groups = settings
    found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
        dy, x, w, [w.shape[0]], stride, padding, dilation, False, [0, 0], groups, mask
    )
    return found


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
