"""What a schedule is: the client learning rate as a function of the round."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from fedsam.config import Component


@dataclass(frozen=True)
class Clock:
    """Where a run is: `round` counts from 0, `rounds` is their total."""

    round: int
    rounds: int


class Schedule(Component):
    """The client learning rate as a function of the round."""

    kind: ClassVar[str] = "schedule"
    package: ClassVar[str] = "fedsam.schedule"

    @abstractmethod
    def lr(self, lr: float, clock: Clock) -> float:
        """The learning rate of all clients in this round, from the configured one."""
