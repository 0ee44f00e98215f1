"""The same learning rate in every round."""

from fedsam.schedule.base import Clock, Schedule


class Constant(Schedule):
    """lr_t = lr (Caldarola et al. 2022)."""

    def lr(self, lr: float, clock: Clock) -> float:
        """The configured learning rate."""
        return lr
