"""Which trials are stopped early: asynchronous successive halving, made independent of time.

ASHA (Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020, algorithm 2, in the form that
stops trials) has rungs at g, gη, gη², ... rounds. A trial that comes to a rung goes on if it is among the best 1/η of
those seen there.

Where several trials go on at once, who is seen there is a matter of timing, and a search that is started again would
end in other trials. Here, a trial is compared with those that had ended before it was begun, and these depend on its
number alone (see `fedsam.tuning.ledger`): no clock decides anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Halving:
    """The rungs, and how good trials were there.

    Args:
        rounds: of a trial.
        grace: rounds that every trial is given; the first rung.
        reduction: η, one in so many goes on.
    """

    def __init__(self, rounds: int, grace: int, reduction: int = 3) -> None:
        self.rounds, self.reduction = rounds, reduction
        self.rungs: list[int] = []
        while grace < rounds:
            self.rungs.append(grace)
            grace *= reduction
        self._seen: dict[int, dict[int, float]] = {rung: {} for rung in self.rungs}

    def stops(self, trial: int, round: int, merit: float, peers: Sequence[int]) -> bool:
        """Whether a trial ends here.

            merit < quantile_{1 − 1/η} of the merits at the rung

        The rung is the highest that the trial has come to; those that it has passed since its last record are not its
        affair, nor is one at which it was seen before.

        Args:
            trial: its number.
            round: that was recorded.
            merit: there, higher the better the trial is.
            peers: the trials that it is compared with.
        """
        rung = next((rung for rung in reversed(self.rungs) if rung <= round), None)
        if rung is None or round >= self.rounds or trial in self._seen[rung]:
            return False
        self._seen[rung][trial] = merit
        others = [self._seen[rung][peer] for peer in peers if peer in self._seen[rung]]
        with np.errstate(invalid="ignore"):  # an infinitely bad one beside the place gives NaN: nothing is below it
            return bool(others) and merit < float(np.quantile(others, 1 - 1 / self.reduction))

    def failed(self, trial: int, merit: float) -> None:
        """Count a trial as the worst, whose merit this is, at every rung that it has not come to."""
        for seen in self._seen.values():
            seen.setdefault(trial, merit)
