"""The same learning rate in every step of a round."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from fedsam.schedule.local.base import LocalSchedule


class Constant(LocalSchedule):
    """lr_t = lr (McMahan et al., AISTATS 2017)."""

    counts_steps: ClassVar[bool] = False

    def rate(self, lr: float | Tensor, t: int, steps: Tensor | float) -> float | Tensor:
        """The round's."""
        return lr
