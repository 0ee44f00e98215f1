"""Random-k: k numbers of an update that are drawn by lot.

Shapes: P parameters, k of them that are sent.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from fedsam.config import key
from fedsam.transforms.base import Compression, Draws, State


class RandomK(Compression):
    """C(x) keeps k = ⌈share · P⌉ numbers of x, drawn uniformly without replacement, times P / k, and sets the others to
    0: E C(x) = x, E ‖C(x) − x‖² = (P / k − 1) ‖x‖². The server draws the same places, so that the numbers alone travel.

    Konečný et al. 2016, section 3, the random mask; Wangni et al., NeurIPS 2018, with equal probabilities.
    """

    share: float = key(0.1, "k / P, share of the numbers that are sent", "convention", gt=0.0, le=1.0)

    def draw(self, rng: np.random.Generator, total: int) -> Draws:
        """`places`, int64 [k]."""
        return {"places": rng.choice(total, size=math.ceil(self.share * total), replace=False, shuffle=False)}

    def encode(self, delta: Tensor, draws: State) -> State:
        """`values` [..., k]."""
        return {"values": delta.gather(-1, draws["places"])}

    def decode(self, payload: State, draws: State, total: int) -> Tensor:
        """P / k times the values at their places, 0 elsewhere."""
        values = payload["values"]
        zeros = values.new_zeros(*values.shape[:-1], total)
        return zeros.scatter(-1, draws["places"], total / values.shape[-1] * values)
