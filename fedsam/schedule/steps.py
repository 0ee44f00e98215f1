"""A learning rate that drops a few times and is constant between."""

import math

from fedsam.config import key
from fedsam.schedule.base import Clock, Schedule


class Steps(Schedule):
    """lr_t = lr · drop^min(drops, ⌊t / (period · T)⌋).

    The step decay of He et al., CVPR 2016. Mordido et al. 2024 divide by 10 after each quarter of training (the
    defaults); Zhou et al. 2025 multiply by 0.2 after 30 % and 60 % (`drop=0.2 period=0.3 drops=2`).

    >>> [round(Steps().lr(0.1, Clock(t, 200)), 9) for t in (0, 49, 50, 100, 150, 199)]
    [0.1, 0.1, 0.01, 0.001, 0.0001, 0.0001]
    """

    drop: float = key(0.1, "factor of the learning rate at each drop", "Mordido et al. 2024", gt=0.0, le=1.0)
    period: float = key(0.25, "share of the rounds between drops", "Mordido et al. 2024", gt=0.0, le=1.0)
    drops: int = key(3, "drops at most", "Mordido et al. 2024", ge=0)

    def lr(self, lr: float, clock: Clock) -> float:
        """The learning rate after the drops so far."""
        passed = math.floor(round(clock.round / (self.period * clock.rounds), 9))
        return lr * self.drop ** min(self.drops, passed)
