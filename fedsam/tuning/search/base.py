"""What a search is: it says what to try next, from what has come of the trials before."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fedsam.config import Component
from fedsam.errors import InputError
from fedsam.measure.score import ACCURACY, Score
from fedsam.rng import stream
from fedsam.tuning.space import Space, Values

State = Literal["done", "stopped", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What has come of a trial.

    Args:
        state: every round was run, early stopping ended it, or it failed.
        round: the last one that was recorded; 0 = none.
        value: of the headline metric on the validation examples, the mean of the last `evaluate_last` rounds that were
            recorded; for a trial that failed, what no value is worse than.
        loss: likewise; None for a trial that failed.
        seconds: of training and evaluation.
        error: what went wrong, in one line.
        score: how values are compared.
    """

    state: State
    round: int
    value: float
    loss: float | None = None
    seconds: float = 0.0
    error: str = ""
    score: Score = ACCURACY

    @property
    def merit(self) -> float:
        """What a search maximises: higher the better the value is."""
        return self.score.merit(self.value)

    def as_json(self) -> dict[str, Any]:
        """All but the score, as plain JSON types, the value by the metric's name; an infinite one is None."""
        value = self.value if math.isfinite(self.value) else None
        found = {"state": self.state, "round": self.round, self.score.name: value, "loss": self.loss}
        return {**found, "seconds": self.seconds, "error": self.error}


class Suggester(ABC):
    """A search at work on one space. Trials are asked for in their order, and told in their order."""

    @abstractmethod
    def ask(self) -> Values:
        """What the next trial is to try."""

    @abstractmethod
    def tell(self, outcome: Outcome) -> None:
        """What has come of the first trial that was not told of yet."""


class Search(Component):
    """A way to choose what is tried."""

    kind: ClassVar[str] = "search"
    package: ClassVar[str] = "fedsam.tuning.search"

    TRIALS: ClassVar[int] = 40

    def trials(self, space: Space, wanted: int | None) -> int:
        """How many trials there are.

        Args:
            wanted: as many as this, if it is given.

        Raises:
            InputError: so many make no sense.
        """
        return self.TRIALS if wanted is None else wanted

    @abstractmethod
    def start(self, space: Space, seed: int, trials: int) -> Suggester:
        """Make ready to search.

        Args:
            seed: what is tried is a function of it and of what was told.
            trials: how many there will be.
        """


def seed_of(seed: int) -> int:
    """The seed of a sampler, from that of the tuning; no stream of a run is the same."""
    return int(stream(seed, "tune").integers(2**32))


def no_more_than(points: int, wanted: int | None) -> int:
    """The number of a grid's points, all of which are to be tried.

    Raises:
        InputError: other than so many are wanted.
    """
    if wanted not in (None, points):
        raise InputError("trials", wanted, f"the grid has {points} points; leave --trials out, or change the grid")
    return points
