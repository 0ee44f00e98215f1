"""The book of a search: what every trial tries, what has come of it, and who may know of it when.

Trials end in an order that is a matter of timing. A search whose next step depended on it could not be repeated, nor
taken up where a crash has left it. So trial i, what it tries and whether it is stopped, depends on trials 0 ... i − L
alone, which have ended when it begins; L, the lag, is 1 for one trial at a time, and twice as many as go on at once for
more, so that hardly ever one has to wait for another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fedsam.measure.score import ACCURACY, Score
from fedsam.tuning.halving import Halving
from fedsam.tuning.search.base import Outcome, State, Suggester
from fedsam.tuning.space import Values

TRIAL, FAILED, BROKEN = "trial", "failed", "broken"
"""Under these names a trial's process is told its number, and says that the trial failed or that all must stop."""


@dataclass(frozen=True)
class Report:
    """A recorded round of a trial: headline metric and loss on the validation examples, and seconds since the last."""

    round: int
    value: float
    loss: float
    seconds: float


@dataclass
class Trial:
    """A trial: its number, what it tries, what it has reported, and what has come of it at last."""

    number: int
    values: Values
    reports: dict[int, Report] = field(default_factory=dict)
    stopping: bool = False
    outcome: Outcome | None = None

    @property
    def came(self) -> Outcome:
        """What has come of it, once it has ended."""
        assert self.outcome is not None
        return self.outcome


class Ledger:
    """Hands out trials in their order, and takes what comes of them in any.

    Args:
        suggester: says what to try.
        halving: says what to stop.
        trials: how many there are in all.
        workers: how many go on at once.
        last: a trial's value is the mean over the recorded rounds among this many last ones.
        ended: told of each trial that has ended.
        score: how their values are compared.
    """

    def __init__(
        self,
        suggester: Suggester,
        halving: Halving,
        trials: int,
        workers: int,
        last: int = 1,
        ended: Callable[[Trial], None] = lambda trial: None,
        score: Score = ACCURACY,
    ) -> None:
        self._suggester, self._halving, self._ended, self._score = suggester, halving, ended, score
        self.number, self.workers, self.last = trials, workers, last
        # a trial waits only for those so far back, so that a slow one does not hold up the others
        self.lag = 1 if workers == 1 else 2 * workers
        self.trials: list[Trial] = []
        self._told = 0

    @property
    def complete(self) -> bool:
        """Whether no trial is left to be begun."""
        return len(self.trials) == self.number

    def begin(self) -> Trial | None:
        """The next trial; None if others have to end first, or if there is none."""
        # what it may know of must have ended, or what is tried would depend on who was faster
        known = self._known(len(self.trials))
        going = sum(trial.outcome is None for trial in self.trials)
        if self.complete or going >= self.workers or any(trial.outcome is None for trial in self.trials[:known]):
            return None
        for trial in self.trials[self._told : known]:
            self._suggester.tell(trial.came)
        self._told = max(self._told, known)
        self.trials.append(Trial(len(self.trials), self._suggester.ask()))
        return self.trials[-1]

    def _known(self, number: int) -> int:
        """How many of the first trials a trial may know of."""
        return max(0, number + 1 - self.lag)

    def report(self, number: int, report: Report) -> bool:
        """Note a recorded round; whether the trial ends with it. One that is told again is answered as before."""
        trial = self.trials[number]
        if report.round in trial.reports:
            return trial.stopping and report.round == max(trial.reports)
        trial.reports[report.round] = report
        peers = range(self._known(number))  # the same ones whoever was faster
        trial.stopping = self._halving.stops(number, report.round, self._score.merit(report.value), peers)
        return trial.stopping

    def end(self, number: int, error: str = "") -> None:
        """A trial has ended: by itself, stopped, or by an error. One that was only broken off has not."""
        trial = self.trials[number]
        over = error or trial.stopping or max(trial.reports, default=0) >= self._halving.rounds
        if trial.outcome is None and over:
            trial.outcome = self._outcome(trial, error)
            if error:
                self._halving.failed(number, self._score.merit(self._score.worst))
            self._ended(trial)

    def _outcome(self, trial: Trial, error: str) -> Outcome:
        reports = [trial.reports[round] for round in sorted(trial.reports)]
        round, seconds = reports[-1].round if reports else 0, sum(report.seconds for report in reports)
        if error:
            return Outcome("failed", round, self._score.worst, None, seconds, error, self._score)
        state: State = "stopped" if trial.stopping else "done"
        late = [report for report in reports if report.round > round - self.last]
        value, loss = (sum(getattr(r, name) for r in late) / len(late) for name in ("value", "loss"))
        return Outcome(state, round, value, loss, seconds, score=self._score)

    def best(self) -> Trial | None:
        """The trial of the best value among those that ran to their end, of equal ones the first; None if there
        is none.
        """
        done = [trial for trial in self.trials if trial.outcome and trial.outcome.state == "done"]
        return max(done, key=lambda trial: trial.came.merit, default=None)
