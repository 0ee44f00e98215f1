"""Searches for what is better by a metric of which less is better, or that has no worst value."""

from __future__ import annotations

import pytest

from fedsam.measure.score import ACCURACY, Score
from fedsam.tuning.halving import Halving
from fedsam.tuning.ledger import Ledger, Report
from fedsam.tuning.search.grid import Grid
from fedsam.tuning.search.tpe import Tpe
from fedsam.tuning.space import space_of

RMSE = Score("rmse", "lower")


def test_halving_stops_the_largest_errors_and_the_ledger_takes_the_smallest() -> None:
    space = space_of({"client.lr": [0.1 * number for number in range(1, 9)]})
    halving = Halving(9, 3)
    ledger = Ledger(Grid().start(space, 0, 8), halving, 8, 1, score=RMSE)
    for number, error in enumerate((0.1, 0.9, 0.2, 0.3, 0.05, 0.8, 0.7, 0.04)):
        trial = ledger.begin()
        assert trial is not None
        if number == 6:
            ledger.end(number, "it diverged")
        elif not ledger.report(number, Report(3, error, error, 1.0)):
            ledger.report(number, Report(9, error, error, 1.0))
        ledger.end(number)
    assert [trial.came.state for trial in ledger.trials] == [
        *("done", "stopped", "done", "stopped", "done", "stopped", "failed", "done")
    ]
    best = ledger.best()
    assert best is not None
    assert best.number == 7
    failed = ledger.trials[6].came
    assert failed.value == float("inf")
    assert all(failed.merit < trial.came.merit for trial in ledger.trials if trial is not ledger.trials[6])


def test_halving_goes_on_beside_trials_that_failed() -> None:
    halving = Halving(9, 3)
    for number in range(2):
        halving.failed(number, RMSE.merit(RMSE.worst))
    assert not halving.stops(2, 3, -5.0, range(2))
    assert not halving.stops(3, 3, -6.0, range(3))  # the place is between an infinitely bad one and −5


@pytest.mark.parametrize("score", [RMSE, Score("gain"), ACCURACY])
def test_a_search_learns_which_way_is_better(score: Score) -> None:
    """The same search of a value and of its negative, the other way round."""

    def tried(score: Score, sign: float) -> list[float]:
        ledger = Ledger(Tpe().start(space_of({"client.lr": "0.001..1"}), 0, 25), Halving(1, 1), 25, 1, score=score)
        while trial := ledger.begin():
            value = sign * (1 - (trial.values["client.lr"] - 0.3) ** 2)
            ledger.report(trial.number, Report(1, value, 0.0, 0.0))
            ledger.end(trial.number, "it diverged" if trial.number == 3 and not score.share else "")
        best = ledger.best()
        assert best is not None
        assert best.values["client.lr"] == pytest.approx(0.3, abs=0.1)
        return [trial.values["client.lr"] for trial in ledger.trials]

    other = Score("other", "lower" if score.better == "higher" else "higher", score.unit)
    sign = 1 if score.better == "higher" else -1
    assert tried(score, sign) == tried(other, -sign)
