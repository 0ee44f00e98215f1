"""Keyed random vectors of the length of theta.

Shapes: P parameters.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedsam.rng import stream


def normal(like_P: Tensor, seed: int, purpose: str, number: int = 0) -> Tensor:
    """Standard normal numbers, [P], with the type and on the device of `like_P`.

    Args:
        number: of the vector among those of this seed and purpose.
    """
    drawn = stream(seed, purpose, number).standard_normal(like_P.numel(), dtype=_type(like_P))
    return torch.from_numpy(drawn).to(like_P)


def signs(like_P: Tensor, seed: int, purpose: str, number: int = 0) -> Tensor:
    """−1 or 1, both alike (Rademacher's distribution), [P], with the type and on the device of `like_P`."""
    drawn = stream(seed, purpose, number).integers(2, size=like_P.numel(), dtype=np.int8)
    return torch.from_numpy(drawn * 2 - 1).to(like_P)


def _type(like_P: Tensor) -> type[np.float32] | type[np.float64]:
    return np.float64 if like_P.dtype == torch.float64 else np.float32
