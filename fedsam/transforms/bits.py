"""Small whole numbers in as few bytes as they need.

Shapes: N numbers; all functions work on the last dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

WIDTHS = 1, 2, 4, 8
"""Bits of a number that fill a byte without a rest."""


def width_of(values: int) -> int:
    """Bits for a number from 0 to `values` − 1, the next of `WIDTHS`.

    >>> width_of(2), width_of(15), width_of(17)
    (1, 4, 8)
    """
    return next(width for width in WIDTHS if values <= 2**width)


def packed(codes: Tensor, width: int) -> Tensor:
    """Numbers from 0 to 2^width − 1, uint8 [..., N], as uint8 [..., ⌈N · width / 8⌉], the first in the lowest bits."""
    each = 8 // width
    lacking = -codes.shape[-1] % each
    codes = torch.nn.functional.pad(codes, (0, lacking))
    codes = codes.reshape(*codes.shape[:-1], -1, each)
    found = codes[..., 0].clone()
    for place in range(1, each):
        found |= codes[..., place] << (place * width)
    return found


def unpacked(packed: Tensor, width: int, count: int) -> Tensor:
    """The N = `count` numbers of `packed`, uint8 [..., N]."""
    places = torch.arange(0, 8, width, dtype=torch.uint8, device=packed.device)
    codes = (packed[..., None] >> places) & (2**width - 1)
    found: Tensor = codes.flatten(-2)[..., :count]
    return found
