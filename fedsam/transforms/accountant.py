"""Epsilon of the sampled Gaussian mechanism over rounds, by the accountants of `dp-accounting`.

The mechanism: the sum of clipped vectors, each at most C long, plus N(0, (z C)² I), of clients that are sampled anew in
each round. Neighbours by the way of sampling:

    Poisson, or all clients in every round   one client more or less, which changes the sum by at most C
    as many clients in every round           one client replaced by another, by at most 2 C: the noise counts as z / 2

The first is McMahan et al., ICLR 2018; the second Wang, Balle and Kasiviswanathan, AISTATS 2019, theorem 27.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fedsam.errors import InputError

MISSING = "needs the package dp-accounting; pip install 'fedsam[privacy]'"
MOST = 1e6  # the largest noise multiplier that is looked for


@dataclass(frozen=True)
class Sampled:
    """How a round's clients are sampled.

    Args:
        clients: N, all of them.
        cohort: m of them in a round; on average if they are sampled one by one.
        poisson: whether they are sampled one by one, each with probability m / N.
    """

    clients: int
    cohort: int
    poisson: bool = False


def available() -> bool:
    """Whether dp-accounting is installed."""
    return importlib.util.find_spec("dp_accounting") is not None


def _accounting() -> Any:
    try:
        importlib.import_module("dp_accounting.rdp")
        return importlib.import_module("dp_accounting")
    except ImportError as error:
        raise InputError("name", InputError.ABSENT, f"{MISSING} ({error})") from None


def _events(sampled: Sampled, noise: float) -> tuple[Any, list[Any]]:
    """What neighbours are, and one round as dp-accounting describes it; each of several is an upper bound."""
    dp = _accounting()
    relation = dp.NeighboringRelation
    if sampled.cohort >= sampled.clients:
        return relation.ADD_OR_REMOVE_ONE, [dp.GaussianDpEvent(noise)]
    if sampled.poisson:
        event = dp.PoissonSampledDpEvent(sampled.cohort / sampled.clients, dp.GaussianDpEvent(noise))
        return relation.ADD_OR_REMOVE_ONE, [event]
    all_of_them = dp.GaussianDpEvent(noise / 2)  # is less where nearly all clients are sampled
    fixed = dp.SampledWithoutReplacementDpEvent(sampled.clients, sampled.cohort, all_of_them)
    return relation.REPLACE_ONE, [fixed, all_of_them]


@lru_cache(maxsize=4096)
def epsilon_of(noise: float, rounds: int, sampled: Sampled, delta: float) -> float | None:
    """Epsilon at `delta` after so many rounds; None where there is no bound. Rényi differential privacy (Mironov 2017).

    >>> epsilon_of(0.0, 1, Sampled(10, 5), 1e-3) is None
    True

    Raises:
        InputError: dp-accounting is not installed.
    """
    if not noise and rounds:
        return None
    relation, events = _events(sampled, noise)
    found = []
    for event in events:
        accountant = _accounting().rdp.RdpAccountant(neighboring_relation=relation)
        accountant.compose(event, rounds)
        found.append(float(accountant.get_epsilon(delta)))
    return min(found) if math.isfinite(min(found)) else None


@lru_cache(maxsize=64)
def multiplier_for(epsilon: float, rounds: int, sampled: Sampled, delta: float) -> float:
    """The smallest noise multiplier, up to a relative error of 1e-6 and never below it, with which epsilon after all
    rounds is at most this.

    Raises:
        InputError: dp-accounting is not installed, or no noise is enough.
    """

    def spent(noise: float) -> float:
        found = epsilon_of(noise, rounds, sampled, delta)
        return math.inf if found is None else found

    high = 1.0
    while spent(high) > epsilon:
        high *= 2
        if high > MOST:
            raise InputError("epsilon", epsilon, f"no noise is enough for it in {rounds} rounds; allow more")
    low = 0.0
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= epsilon else (middle, high)
    return high
