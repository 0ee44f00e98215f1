"""What a local schedule is: the learning rate as a function of the step within a client's round."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from fedsam.config import Component


class LocalSchedule(Component):
    """The learning rate of a client's local step t, from 0, of its K; the round's own is the rate it begins with, or
    for a warm-up the one it comes to.
    """

    kind: ClassVar[str] = "local schedule"
    package: ClassVar[str] = "fedsam.schedule.local"

    counts_steps: ClassVar[bool] = True
    """Whether the rate may depend on the step."""

    @abstractmethod
    def rate(self, lr: float | Tensor, t: int, steps: Tensor | float) -> float | Tensor:
        """The learning rate of step t.

        Args:
            lr: of the round; of several runs [K, 1].
            t: the step.
            steps: K, of a block [K, 1].
        """
