"""The choice of an engine by a fixed rule, which `fedsam bench engines` confirms by timing."""

from __future__ import annotations

from fedsam.engine.base import Engine, Trainer
from fedsam.engine.cohort import Cohort
from fedsam.engine.loop import Loop
from fedsam.engine.task import SMALL, Task


class Auto(Engine):
    """`cohort` on a GPU, and on a CPU for small models without convolutions; `loop` otherwise.

    The rule looks at device, layers and sizes alone, so the same run picks the same engine everywhere.
    """

    def choose(self, task: Task) -> tuple[Engine, str]:
        """The engine, and the part of the rule that decided."""
        settings = {"device": self.device, "precision": self.precision, "threads": self.threads, "block": self.block}
        if task.device.type != "cpu":
            return Cohort(**settings), "on a GPU clients are trained in blocks"
        if task.convolutional:
            return Loop(**settings), "on a CPU convolutions are faster one client at a time"
        if not task.small:
            return Loop(**settings), f"on a CPU models of more than {SMALL:,} parameters are faster one client at a time"
        return Cohort(**settings), "on a CPU small models without convolutions are faster in blocks"

    def start(self, task: Task) -> Trainer:
        """Start the chosen engine."""
        return self.choose(task)[0].start(task)
