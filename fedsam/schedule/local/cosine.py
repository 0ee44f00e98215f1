"""A learning rate that falls along half a cosine within every round."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fedsam.config import key
from fedsam.schedule.local.base import LocalSchedule


class Cosine(LocalSchedule):
    """lr_t = lr · (end + (1 − end) (1 + cos(π t / K)) / 2), from step t = 0 of the client's K.

    Loshchilov and Hutter, SGDR, ICLR 2017, eq. 5, with a restart at the beginning of each round.
    """

    local_end: float = key(
        0.0,
        "to which share of itself the learning rate falls in a round",
        "Loshchilov and Hutter 2017",
        ge=0.0,
        le=1.0,
    )

    def rate(self, lr: float | Tensor, t: int, steps: Tensor | float) -> float | Tensor:
        """The annealed rate."""
        angle = math.pi * t / steps
        cosine = torch.cos(angle) if isinstance(angle, Tensor) else math.cos(angle)
        return lr * (self.local_end + (1 - self.local_end) * (1 + cosine) / 2)
