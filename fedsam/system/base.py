"""What a system of devices is: it decides which clients a round asks, and which of them deliver how much, and when.

All of it is known before a round begins, so that nobody is trained in vain. Shapes: K clients that are asked, or those
of them that deliver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from fedsam.config import Component, key
from fedsam.data.plan import sample_cohort
from fedsam.system.sampling.base import Sampling


@dataclass(frozen=True)
class Participation:
    """What becomes of a round's clients.

    Args:
        ids: those that deliver, in ascending order.
        sizes_K: their training examples.
        steps_K: how many local steps they take, the first ones, at least 1; None = all of them.
        dropped: those that were sent the model and deliver nothing, by reason.
        shortened: how many deliver fewer than all their steps.
        seconds: simulated time that the round takes.
        times: how often each client was drawn, its weight in the mean in place of its examples; empty = by these.
        candidates: how many were sent the model to tell their loss.
    """

    ids: list[int]
    sizes_K: np.ndarray
    steps_K: np.ndarray | None = None
    dropped: Mapping[str, list[int]] = field(default_factory=dict)
    shortened: int = 0
    seconds: float = 0.0
    times: Mapping[int, int] = field(default_factory=dict)
    candidates: int = 0

    def weights(self) -> np.ndarray:
        """What each client weighs in the mean, before these are made to sum to 1, [K]."""
        return np.array([self.times[client] for client in self.ids]) if self.times else self.sizes_K

    @property
    def asked(self) -> int:
        """How many clients were sent the model."""
        return len(self.ids) + sum(map(len, self.dropped.values()))


class System(Component):
    """A system of devices; the default is ideal: whoever is asked delivers."""

    kind: ClassVar[str] = "system"
    package: ClassVar[str] = "fedsam.system"

    reasons: ClassVar[tuple[str, ...]] = ()
    """Why clients may deliver nothing; with any, rounds are recorded with their turnout."""

    sampling: Sampling = key("uniform", "which clients a round asks", "McMahan et al. 2017")

    @property
    def uniform(self) -> bool:
        """Whether all clients are there in every round, so that it is `sampling` alone that decides."""
        return type(self).sample is System.sample

    def sample(self, seed: int, round: int, clients: int, cohort: int) -> list[int]:
        """The clients that a round asks if they are sampled uniformly: `cohort` of all, without replacement, in
        ascending order.
        """
        return sample_cohort(seed, round, clients, cohort)

    def participation(
        self, seed: int, round: int, ids: Sequence[int], sizes_K: np.ndarray, steps_K: np.ndarray
    ) -> Participation:
        """What becomes of the clients of a round.

        Args:
            seed: of the run; draws are keyed by it, the round and the client.
            round: its number, from 0.
            ids: the clients that are asked, each with at least one example.
            sizes_K: their training examples.
            steps_K: all their local steps.
        """
        return Participation(list(ids), sizes_K)
