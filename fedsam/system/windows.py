"""When clients are available: each in a window of every period, which begins at a phase of its own.

Shapes: N clients, R rounds of a period.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fedsam.rng import stream


@lru_cache(maxsize=4)
def _by_phase(seed: int, clients: int, period: int) -> tuple[np.ndarray, np.ndarray]:
    """The clients in the order of their phases [N], and where each phase begins among them [R + 1]."""
    phase_N = phases(seed, clients, period)
    order_N = np.argsort(phase_N, kind="stable")
    return order_N, np.searchsorted(phase_N[order_N], np.arange(period + 1))


def phases(seed: int, clients: int, period: int) -> np.ndarray:
    """Each client's phase, uniform in 0, ..., period − 1 and fixed for the run, int64 [N]: the n-th number of one keyed
    stream is that of client n, however many there are.
    """
    return stream(seed, "availability").integers(period, size=clients)


def sample_available(seed: int, round: int, clients: int, cohort: int, period: int, window: int) -> list[int]:
    """Clients of a round, uniformly without replacement from those that are available, in ascending order; all of
    these if there are fewer than `cohort`.

    Client n is available in round t if (t + phase_n) mod period < window. In the order of phases these are a stretch,
    perhaps around the end, so that a round costs the same for any number of clients; ordering them costs N log N once.

    Args:
        seed, round, clients, cohort: as for `fedsam.data.plan.sample_cohort`.
        period, window: in rounds; window is at most period.
    """
    order_N, begin_R = _by_phase(seed, clients, period)
    first = -round % period  # the phase whose window begins in this round
    from_, until = int(begin_R[first]), int(begin_R[min(first + window, period)])
    around = int(begin_R[max(0, first + window - period)])
    straight, there = until - from_, until - from_ + around
    places = stream(seed, "cohort", round).choice(there, size=min(cohort, there), replace=False, shuffle=False)
    return sorted(order_N[np.where(places < straight, from_ + places, places - straight)].tolist())
