"""A ledger as Ray Tune's searcher, scheduler and stopper. Ray Tune is imported with this module."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import ProgressReporter, Stopper
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from fedsam.errors import FedsamError, RunError
from fedsam.tuning.ledger import BROKEN, FAILED, TRIAL, Ledger, Report, Trial


class Book:
    """What searcher, scheduler and stopper share.

    Args:
        ledger: decides.
        asked: what goes to the process of a trial.
        stop: the user's.
    """

    def __init__(self, ledger: Ledger, asked: Callable[[Trial], dict[str, Any]], stop: threading.Event | None) -> None:
        self.ledger, self.asked, self.stop = ledger, asked, stop
        self.broken: FedsamError | None = None
        self.failed: dict[int, str] = {}
        self.numbers: dict[str, int] = {}

    def __deepcopy__(self, memo: object) -> Book:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (str, ())  # Ray writes down the state of a search, which is never read

    @property
    def over(self) -> bool:
        """Whether everything is to be stopped."""
        return self.broken is not None or (self.stop is not None and self.stop.is_set())

    def breaks(self, number: int, error: str) -> None:
        """Something went wrong that is not the fault of what is tried."""
        again = "the same command again goes on from the trials' checkpoints"
        self.broken = self.broken or RunError(f"trial {number}: {error}; {again}")


class _Searcher(Searcher):  # type: ignore[misc]
    def __init__(self, book: Book) -> None:
        super().__init__(metric="value", mode="max")  # Ray wants them; it is the ledger that compares
        self.book = book

    def suggest(self, trial_id: str) -> Any:
        if self.book.over:
            return None
        try:
            trial = self.book.ledger.begin()
            asked = trial and self.book.asked(trial)
        except FedsamError as error:
            self.book.broken = error
            return None
        if trial is None:
            return None
        self.book.numbers[trial_id] = trial.number
        return asked

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        number = self.book.numbers[trial_id]
        if error:
            self.book.breaks(number, "its process died again and again, or raised an error; see Ray's logs")
        elif not self.book.over:
            self.book.ledger.end(number, self.book.failed.get(number, ""))

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).touch()  # Ray wants a file, which is never read

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("Ray restores no tuning: the same command goes over its trials again")


class _Scheduler(FIFOScheduler):  # type: ignore[misc]
    def __init__(self, book: Book) -> None:
        super().__init__()
        self.book = book

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number = trial.config[TRIAL]
        if BROKEN in result:
            self.book.breaks(number, result[BROKEN])
        elif FAILED in result:
            self.book.failed[number] = result[FAILED]
        else:
            report = Report(*(result[name] for name in ("round", "value", "loss", "seconds")))
            if self.book.ledger.report(number, report):
                return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)


class _Stopper(Stopper):  # type: ignore[misc]
    def __init__(self, book: Book) -> None:
        self.book = book

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.book.over


class Silent(ProgressReporter):  # type: ignore[misc]
    """Reports nothing: fedsam's own progress does."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        """Never."""
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: Any) -> None:
        """Nothing."""


def searcher_of(book: Book) -> Searcher:
    """Hands out trials, and hears that they have ended."""
    return _Searcher(book)


def scheduler_of(book: Book) -> FIFOScheduler:
    """Hears what trials report, and stops them."""
    return _Scheduler(book)


def stopper_of(book: Book) -> Stopper:
    """Stops all when the user wants it, or when something is broken."""
    return _Stopper(book)
