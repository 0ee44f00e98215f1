"""What a measurement is: something found out every so many rounds, into metrics.jsonl.

A `Probe` looks at the global model, a `LocalProbe` at clients one by one, `Diagnostics` at a round's client updates.

Shapes: K clients of a block or a round, P parameters, S numbers of statistics.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from fedsam.border.budget import Need
from fedsam.config import Component, key
from fedsam.data.base import Federation
from fedsam.measure.score import Score
from fedsam.params import Weights

if TYPE_CHECKING:
    from fedsam.engine.context import RunContext
    from fedsam.federated.local_adaptation import LocalAdaptation


class Measurement(Component):
    """A measurement; a round with one is recorded, and what was measured is in its record under the group's name."""

    every: int = key(0, "rounds between measurements; the last round is measured, too; 0 = never", "off", ge=0)

    def due(self, round: int, rounds: int) -> bool:
        """Whether to measure the round that is the `round`-th of all rounds, from 1."""
        return self.every > 0 and (round % self.every == 0 or round == rounds)


@dataclass(frozen=True)
class Snapshot:
    """A run after a round.

    Args:
        context: of the run.
        federation: its data.
        round: how many rounds are done.
        served: the served model.
        adaptation: trains clients from a model, of which nothing is kept; None where there is no engine to do it.
    """

    context: RunContext
    federation: Federation
    round: int
    served: Weights
    adaptation: LocalAdaptation | None = None


class Probe(Measurement):
    """A measurement of the global model."""

    kind: ClassVar[str] = "probe"
    package: ClassVar[str] = "fedsam.measure"

    def needs(self, parameters: int) -> list[Need]:
        """What a measurement must have in memory at once, for a model with so many parameters."""
        return []

    @abstractmethod
    def measure(self, snapshot: Snapshot) -> dict[str, Any]:
        """What was measured, as plain JSON types."""


class LocalProbe(Probe):
    """A measurement on the clients' own test sets, which `data.local_test` holds out."""

    kind: ClassVar[str] = "evaluation of clients"
    package: ClassVar[str] = "fedsam.measure"

    def check(self, score: Score) -> None:
        """Refuse keys that make no sense for the metric that a run is judged by; by default there are none.

        Raises:
            InputError: under the key at fault.
        """


class Updates:
    """What a round's clients delivered, on the device, as it arrives: delta_k = theta_client − theta_sent."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.blocks: list[Tensor] = []
        self._weights: list[Tensor] = []

    def add(self, ids: list[int], delta_KP: Tensor, weight_K: Tensor) -> None:
        """A block of clients: their updates, and their shares in the mean over the whole round."""
        self.ids += ids
        self.blocks.append(delta_KP)
        self._weights.append(weight_K)

    @property
    def shares(self) -> Tensor:
        """p_k [K], the clients' shares of the examples of those that delivered: they sum to 1; float64."""
        weight_K = torch.cat(self._weights).double()
        return weight_K / weight_K.sum()


class Diagnostics(Measurement):
    """A measurement of a round's client updates."""

    kind: ClassVar[str] = "diagnostic"
    package: ClassVar[str] = "fedsam.measure"

    @abstractmethod
    def measure(self, updates: Updates) -> dict[str, Any]:
        """What was measured, as plain JSON types; None is what is not defined."""
