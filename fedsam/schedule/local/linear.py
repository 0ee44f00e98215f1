"""A learning rate that falls along a line within every round."""

from __future__ import annotations

from torch import Tensor

from fedsam.config import key
from fedsam.schedule.local.base import LocalSchedule


class Linear(LocalSchedule):
    """lr_t = lr (1 − t/K) + (t/K) · end · lr, from step t = 0 of the client's K.

    Liu et al., ICML 2025, algorithm 1 (the clients of FedSWA).
    """

    local_end: float = key(
        0.1, "to which share of itself the learning rate falls in a round", "Liu et al. 2025", ge=0.0, le=1.0
    )

    def rate(self, lr: float | Tensor, t: int, steps: Tensor | float) -> float | Tensor:
        """The falling rate."""
        share = t / steps
        return lr * (1 - share) + share * self.local_end * lr
