"""What a way of sampling clients is.

Shapes: N clients, K of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from fedsam.config import Component


@dataclass(frozen=True)
class Population:
    """Those that a round can ask.

    Args:
        seed: of the run; draws are keyed by it and the round.
        round: its number, from 0.
        clients: N, how many there are.
        cohort: how many are wanted.
        uniform: as many as wanted, uniformly without replacement, in ascending order, from those that are there.
        sizes: the examples of all, int64 [N].
        losses: the global model's mean losses on these clients' training examples, float64 [K].
    """

    seed: int
    round: int
    clients: int
    cohort: int
    uniform: Callable[[], list[int]]
    sizes: Callable[[], np.ndarray]
    losses: Callable[[Sequence[int]], np.ndarray]


@dataclass(frozen=True)
class Drawn:
    """The clients that a round asks.

    Args:
        ids: each of them once, in ascending order.
        times: how often each was drawn, which is its weight in the mean in place of its examples; empty = by these.
        candidates: how many were sent the model to tell their loss, the clients of the round among them.
    """

    ids: list[int]
    times: Mapping[int, int] = field(default_factory=dict)
    candidates: int = 0


class Sampling(Component):
    """A way of sampling."""

    kind: ClassVar[str] = "way of sampling"
    package: ClassVar[str] = "fedsam.system.sampling"

    bounded: ClassVar[bool] = False
    """Whether a bound of differential privacy is known for it."""
    poisson: ClassVar[bool] = False
    """Whether clients are sampled one by one, independently of each other."""
    by_loss: ClassVar[bool] = False
    """Whether it depends on the model, by way of losses."""

    @abstractmethod
    def draw(self, population: Population) -> Drawn:
        """The clients of a round."""
