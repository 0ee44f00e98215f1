"""What has come of a tuning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsam.measure.score import Score
from fedsam.reports.curves import search_curve
from fedsam.runs.shown import Shown
from fedsam.tuning.ledger import Trial
from fedsam.tuning.outputs import trial_rows
from fedsam.tuning.space import Space

if TYPE_CHECKING:
    from fedsam.reports.sheet import Sheet


@dataclass(frozen=True, repr=False)
class Tuned(Shown):
    """Trials, the best of them, and what its settings gave on the test set.

    Args:
        space: that was searched.
        trials: all of them, ended.
        best: the one whose settings were trained anew.
        rounds: of a trial that is not stopped.
        tested: the headline metric on the test set, by seed.
        score: how it is told.
        out: the directory.
    """

    space: Space
    trials: list[Trial]
    best: Trial
    rounds: int
    tested: dict[int, float]
    score: Score
    out: Path

    def rows(self) -> list[dict[str, Any]]:
        """A row a trial, as in trials.csv."""
        return trial_rows(self.trials, self.space, self.score)

    def headline(self) -> str:
        """The best settings and how they did on the test set."""
        return (
            f"best: {self.settings}; test {self.score.words} {self.test} with {len(self.tested)} seeds, in {self.out}"
        )

    @property
    def settings(self) -> str:
        """Those of the best trial, as they are given on a command line."""
        return " ".join(f"{key}={value}" for key, value in self.best.values.items())

    @property
    def test(self) -> str:
        """Mean and sample standard deviation of the headline metric on the test set."""
        tested = list(self.tested.values())
        spread = f" ± {self.score.text(float(np.std(tested, ddof=1)))}" if len(tested) > 1 else ""
        return f"{self.score.text(float(np.mean(tested)))}{spread}"

    def plot(self) -> Sheet:
        """The validation metric of each trial, and the best so far."""
        return search_curve([trial.came.value for trial in self.trials], self.score)

    def summary(self) -> dict[str, Any]:
        """The result as plain JSON types."""
        outcomes = [trial.came for trial in self.trials]
        states = [outcome.state for outcome in outcomes]
        return {
            "out": str(self.out),
            "best": self.best.values,
            "trial": self.best.number,
            f"validation_{self.score.name}": self.best.came.value,
            f"test_{self.score.name}": list(self.tested.values()),
            "seeds": list(self.tested),
            "trials": len(outcomes),
            **{state: states.count(state) for state in ("done", "stopped", "failed")},
            "rounds_run": sum(outcome.round for outcome in outcomes),
            "rounds_without_stopping": self.rounds * len(outcomes),
        }
