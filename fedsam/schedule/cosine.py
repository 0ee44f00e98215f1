"""A learning rate that falls along half a cosine."""

import math

from fedsam.config import LARGE, key
from fedsam.schedule.base import Clock, Schedule


class Cosine(Schedule):
    """lr_t = lr_min + (lr − lr_min) · (1 + cos(π t / T)) / 2 (Loshchilov and Hutter, SGDR, ICLR 2017, eq. 5, without
    restarts).

    >>> round(Cosine().lr(0.1, Clock(round=50, rounds=100)), 12)
    0.05
    """

    lr_min: float = key(0.0, "learning rate at the end of the run", "Loshchilov and Hutter 2017", ge=0.0, le=LARGE)

    def lr(self, lr: float, clock: Clock) -> float:
        """The annealed learning rate."""
        return self.lr_min + (lr - self.lr_min) * (1 + math.cos(math.pi * clock.round / clock.rounds)) / 2
