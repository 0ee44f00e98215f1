"""What a probe is: a measurement of the global model every so many rounds, into metrics.jsonl.

Shapes: P parameters, S numbers of statistics.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from fedsam.border.budget import Need
from fedsam.config import Component, key
from fedsam.data.base import Federation

if TYPE_CHECKING:
    from fedsam.engine.context import RunContext
    from fedsam.federated.local_adaptation import LocalAdaptation


@dataclass(frozen=True)
class Snapshot:
    """A run after a round.

    Args:
        context: of the run.
        federation: its data.
        round: how many rounds are done.
        theta_P: the served model.
        statistics: of its batch normalisation, if it has any: one vector [S].
        adaptation: trains clients from a model, of which nothing is kept; None where there is no engine to do it.
    """

    context: RunContext
    federation: Federation
    round: int
    theta_P: Tensor
    statistics: tuple[Tensor, ...]
    adaptation: LocalAdaptation | None = None


class Probe(Component):
    """A measurement; a round with one is recorded, and what was measured is in its record under the group's name."""

    kind: ClassVar[str] = "probe"
    package: ClassVar[str] = "fedsam.measure"

    every: int = key(0, "rounds between measurements; the last round is measured, too; 0 = never", "off", ge=0)

    def due(self, round: int, rounds: int) -> bool:
        """Whether to measure after this many of all rounds."""
        return self.every > 0 and (round % self.every == 0 or round == rounds)

    def needs(self, parameters: int) -> list[Need]:
        """What a measurement must have in memory at once, for a model with so many parameters."""
        return []

    @abstractmethod
    def measure(self, snapshot: Snapshot) -> dict[str, Any]:
        """What was measured, as plain JSON types."""
