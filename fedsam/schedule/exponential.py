"""A learning rate that decays by a constant factor every round."""

from fedsam.config import key
from fedsam.schedule.base import Clock, Schedule


class Exponential(Schedule):
    """lr_t = lr · decay^t.

    >>> Exponential(decay=0.5).lr(0.8, Clock(round=2, rounds=10))
    0.2
    """

    decay: float = key(
        0.998, "factor of the learning rate per round", "FL-Simulator (its CIFAR-10 table)", gt=0.0, le=1.0
    )

    def lr(self, lr: float, clock: Clock) -> float:
        """The decayed learning rate."""
        return lr * self.decay**clock.round
