"""What a paper says, as a number with a limit, and what runs of our own answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedsam.errors import RunError
from fedsam.reproduce.results import MissingRun, Results

Verdict = Literal["yes", "no", "undecided"]

UNANSWERED = (MissingRun, RunError, ArithmeticError, ValueError)
"""What leaves a claim open, or a figure out, in place of stopping all else: a run that is not there, a measurement that
cannot be made (eigenvalues that are not found, a gradient that is not finite), a number that has no logarithm or cannot
be divided by. Any other error is a mistake in the program, and surfaces."""


@dataclass(frozen=True)
class Claim:
    """What a paper says, as a number that must lie above or below a limit.

    Args:
        text: the claim, in a sentence.
        place: where the paper says so; empty if that is not known here.
        measured: what the number is, with its unit.
        value: the number of one seed.
        side: of `limit` on which it must lie.
        limit: in the number's unit.
        published: the paper's own number; "not available" where none could be verified.
        step: the resolution of one seed's number: 1/n for an accuracy on n images, and for a difference of two. Seeds
            that agree more closely agree by chance, so the interval is never that of seeds which spread by less. Left
            out, seeds that all have one and the same number do not decide.
    """

    text: str
    place: str
    measured: str
    value: Callable[[Results, int], float]
    side: Literal["above", "below"]
    limit: float = 0.0
    published: str = "not available"
    step: float = 0.0


@dataclass(frozen=True)
class Answer:
    """A claim with the number of each seed."""

    claim: Claim
    values: dict[int, float]

    @property
    def mean(self) -> float | None:
        """Over seeds; None where there is no finite number for each of them."""
        values = list(self.values.values())
        return float(np.mean(values)) if values and all(map(math.isfinite, values)) else None

    @property
    def reach(self) -> float | None:
        """How far the 95 % confidence interval of the mean reaches to either side: t_{0.975, n−1} s / √n, with s the
        standard deviation of the n seeds' numbers, or the claim's `step` where that is larger; None for fewer than two.
        """
        values = list(self.values.values())
        if self.mean is None or len(values) < 2:
            return None
        from scipy.special import stdtrit

        spread = max(float(np.std(values, ddof=1)), self.claim.step)
        return float(stdtrit(len(values) - 1, 0.975)) * spread / math.sqrt(len(values))

    @property
    def holds(self) -> Verdict:
        """Yes if the whole interval lies on the claimed side of the limit, no if it lies on the other one; undecided if
        the limit is inside, for fewer than two seeds, and where seeds agree by chance.
        """
        if self.mean is None or self.reach is None or self._by_chance():
            return "undecided"
        way = 1 if self.claim.side == "above" else -1
        margin = way * (self.mean - self.claim.limit)
        return "yes" if margin > self.reach else "no" if -margin > self.reach else "undecided"

    def _by_chance(self) -> bool:
        """Whether all seeds have the same number up to rounding, not zero, and no `step` says how well it is known: a
        count, such as that of wrong test images, which the next seed may well change. Zeros are nothing to spread.
        """
        values = list(self.values.values())
        return not self.claim.step and any(values) and bool(np.ptp(values) <= 1e-9 * np.max(np.abs(values)))


@dataclass(frozen=True)
class Open:
    """A claim without an answer.

    Args:
        why: a run that is not there, or what went wrong in a measurement.
        holds: "not run", or "undecided" where everything was run.
    """

    claim: Claim
    why: str
    holds: Literal["not run", "undecided"]
