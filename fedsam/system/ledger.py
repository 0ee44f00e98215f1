"""The book of a run's turnout: who delivered and why others did not, as records and checkpoints have it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from fedsam.system.base import Participation, System

log = logging.getLogger("fedsam")


class Ledger:
    """Counts turnouts of one run; for a system in which everybody delivers there is nothing to say.

    Args:
        system: of the run.
    """

    def __init__(self, system: System) -> None:
        self.reasons = system.reasons
        self.seconds = 0.0
        """Simulated time since the beginning of the run."""
        self.last = Participation([], np.empty(0))
        self._count_anew()

    def _count_anew(self) -> None:
        self.counts = dict.fromkeys(("rounds", "empty", "asked", "trained", "shortened", *self.reasons), 0)

    def take(self, round: int, participation: Participation, trained: int) -> None:
        """Enter a round, and say so if nobody delivered.

        Args:
            round: its number, from 1.
            trained: how many clients delivered.
        """
        if not self.reasons:
            return
        self.last = participation
        self.seconds += participation.seconds
        found = {"rounds": 1, "empty": int(not trained), "asked": participation.asked, "trained": trained}
        found |= {"shortened": participation.shortened, **{why: len(who) for why, who in participation.dropped.items()}}
        self.counts = {name: count + found.get(name, 0) for name, count in self.counts.items()}
        if not trained:
            whys = (
                ", ".join(f"{why} {len(who)}" for why, who in participation.dropped.items() if who)
                or "nobody was there"
            )
            log.warning("round %d: no client delivers (%s); the model stays as it is", round, whys)

    def record(self, ids: Sequence[int]) -> dict[str, Any]:
        """What a record says: of its round the clients that dropped, by reason, and the local steps of those that
        trained; the counts since the record before; and the simulated seconds since the beginning.

        Args:
            ids: the clients that trained.
        """
        if not self.reasons:
            return {}
        last, counts = self.last, self.counts
        self._count_anew()
        found: dict[str, Any] = {"dropped": {why: list(last.dropped.get(why, [])) for why in self.reasons}}
        if last.steps_K is not None:
            steps = dict(zip(last.ids, last.steps_K.tolist(), strict=True))
            found["steps"] = [steps[client] for client in ids]
        return {**found, "turnout": counts, "simulated_seconds": self.seconds}

    def pending(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"turnout": self.counts, "simulated_seconds": self.seconds} if self.reasons else {}

    def restore(self, pending: dict[str, Any]) -> None:
        """What `pending` gave."""
        if self.reasons:
            self.counts = {name: pending["turnout"][name] for name in self.counts}
            self.seconds = float(pending["simulated_seconds"])
