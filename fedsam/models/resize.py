"""Bilinear resizing as two products with matrices, whose gradients are the same bits on every GPU run.

torch's own adds up its gradient by atomic operations on a GPU, in an order that changes from run to run.
Shapes: B batch, C channels, H height, W width; h, w before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def resized(x_BChw: Tensor, size: Sequence[int]) -> Tensor:
    """[B, C, h, w] to [B, C, H, W], as `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`."""
    height, width = size
    if x_BChw.shape[-2:] == (height, width):
        return x_BChw
    kind = x_BChw.device, x_BChw.dtype
    return _matrix(x_BChw.shape[-2], height, *kind) @ (x_BChw @ _matrix(x_BChw.shape[-1], width, *kind).mT)


@lru_cache(maxsize=64)
def _matrix(before: int, after: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """How much of each of `before` places goes into each of `after`, [after, before]: a place i of these lies at
    (i + 1/2) before / after − 1/2 among those.
    """
    at = ((torch.arange(after, dtype=torch.float64) + 0.5) * (before / after) - 0.5).clamp(0, before - 1)
    return (1 - (at[:, None] - torch.arange(before)).abs()).clamp(min=0).to(device, dtype)
