"""What has come of a tuning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsam.measure.score import Score
from fedsam.tuning.ledger import Trial
from fedsam.tuning.space import Space


@dataclass(frozen=True)
class Tuned:
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
