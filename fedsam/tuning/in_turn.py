"""Trials one after the other, in this process: nothing has to be started, and nothing imported that no run needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from fedsam.errors import FedsamError, Interrupted, RunError
from fedsam.run import Run
from fedsam.runs.progress import Progress
from fedsam.sweeps.sweep import Failed, carry_out
from fedsam.tuning.ledger import Ledger, Report, Trial
from fedsam.tuning.trial import follow, written
from fedsam.tuning.workers import Workers

AGAIN = "the same command again goes on from the checkpoints"


class _Stopped(Exception):
    """Out of the listener: the ledger has ended the trial."""


class InTurn(Workers):
    """One run at a time; the trials are those that one worker on Ray would carry out.

    Args:
        progress: shows how far the run is that goes on.
        stop: once set, it is stopped.
    """

    at_once = 1

    def __init__(self, progress: Progress, stop: threading.Event | None = None) -> None:
        self.progress, self.stop = progress, stop
        self._behind = 0  # rounds of the runs before

    def __exit__(self, *error: object) -> None:
        """Nothing has been started."""

    def drive(self, ledger: Ledger, run_of: Callable[[Trial], Run], said: Iterable[Any]) -> None:
        """Carry out the trials of a ledger."""
        while (trial := ledger.begin()) is not None:
            try:
                error = self._follow(ledger, trial.number, run_of(trial))
            except Interrupted:
                raise Interrupted(f"stopped; {AGAIN}") from None
            except FedsamError as broken:
                what = " ".join(str(broken).split())
                raise RunError(f"trial {trial.number}: {what}; {AGAIN}") from broken
            ledger.end(trial.number, error)

    def _begins(self, label: str, run: Run) -> None:
        self.progress.next(label, self._behind)
        self._behind += run.rounds

    def _follow(self, ledger: Ledger, number: int, run: Run) -> str:
        def tell(report: Report) -> None:
            if ledger.report(number, report):
                raise _Stopped

        self._begins(f"trial {number}", run)
        try:
            return follow(run, tell, written(Path(str(run.out))), self.stop, [self.progress])
        except _Stopped:
            return ""

    def train(self, runs: Sequence[Run], ended: Callable[[int, list[Failed]], None]) -> None:
        """Carry out runs."""
        for place, run in enumerate(runs):
            failed: Failed = None
            self._begins(f"best settings, seed {run.seed}", run)
            try:
                carry_out(run, self.progress, self.stop)
            except Interrupted:
                raise Interrupted(f"stopped; {AGAIN}") from None
            except FedsamError as error:
                failed = " ".join(str(error).split())
            ended(place, [failed])
