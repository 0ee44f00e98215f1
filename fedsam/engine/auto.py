"""The choice of an engine by a fixed rule, which `fedsam bench engines` confirms by timing."""

from __future__ import annotations

from typing import Any

from fedsam.data.base import Federation
from fedsam.engine.base import Engine, Trainer
from fedsam.engine.cohort import Cohort
from fedsam.engine.loop import Loop
from fedsam.engine.task import LIMIT, Task

LIMIT_CONVOLUTIONAL = 2**19  # parameters


class Auto(Engine):
    """On a GPU `cohort`. On a CPU `cohort` for small models, whose kernels are short, and `loop` for the others.

    Small is up to 2^17 parameters, with convolutions up to 2^19. The rule looks at device, layers and sizes alone, so
    the same run picks the same engine everywhere.
    """

    def choose(self, task: Task) -> tuple[Engine, str]:
        """The engine, and the part of the rule that decided."""
        settings: dict[str, Any] = {field: getattr(self, field) for field in Engine.model_fields}
        if task.device.type != "cpu":
            return Cohort(**settings), "on a GPU clients are trained in blocks"
        limit = LIMIT_CONVOLUTIONAL if task.convolutional else LIMIT
        kind = f"models {'with' if task.convolutional else 'without'} convolutions of"
        if task.layout.total <= limit:
            return Cohort(**settings), f"on a CPU {kind} at most {limit:,} parameters are faster in blocks"
        return Loop(**settings), f"on a CPU {kind} more than {limit:,} parameters are faster one client at a time"

    def start(self, task: Task, federation: Federation) -> Trainer:
        """Start the chosen engine."""
        return self.choose(task)[0].start(task, federation)
