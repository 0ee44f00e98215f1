"""What a diagnostic is: a measurement of a round's client updates every so many rounds, into metrics.jsonl.

Shapes: K clients of a block or a round, P parameters.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from fedsam.config import Component, key


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


class Diagnostics(Component):
    """A measurement; a round with one is recorded, and what was measured is in its record under the group's name."""

    kind: ClassVar[str] = "diagnostic"
    package: ClassVar[str] = "fedsam.measure"

    every: int = key(0, "rounds between measurements; the last round is measured, too; 0 = never", "off", ge=0)

    def due(self, round: int, rounds: int) -> bool:
        """Whether to measure the round that is the `round`-th of all rounds, from 1."""
        return self.every > 0 and (round % self.every == 0 or round == rounds)

    @abstractmethod
    def measure(self, updates: Updates) -> dict[str, Any]:
        """What was measured, as plain JSON types; None is what is not defined."""
