"""Trackers and callbacks of a run, as a listener: what goes wrong with one of them is said once, and stops nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedsam.border.foreign import imported
from fedsam.errors import InputError, Interrupted
from fedsam.run import Run
from fedsam.runs.records import Record
from fedsam.runs.result import Listener, Result, Several
from fedsam.runs.trackers.base import Begun, Ending, Tracking, each_of

log = logging.getLogger("fedsam")

KEPT = ".json", ".jsonl", ".html", ".png", ".svg", ".pdf", ".safetensors"
"""Files of a run directory that trackers are given."""


@contextmanager
def told(
    run: Run, listener: Listener, folder: Path | None, about: Mapping[str, Any], report: Callable[[Path], object]
) -> Iterator[Listener]:
    """A listener that tells this one, the run's trackers and its callbacks; in the end trackers are given its files.

    Args:
        folder: the run directory.
        about: what it runs on.
        report: writes the report into a run directory.

    Raises:
        InputError: a tracker or a callback is not there.
    """
    found = [*map(Steady, callbacks_of(run.callbacks))]
    trackers = Trackers(run, folder, about)
    if not found and not trackers.waiting:
        yield listener
        return
    ending: Ending = "failed"
    try:
        yield Several([listener, *found, trackers])
        ending = "finished"
    except (Interrupted, KeyboardInterrupt):
        ending = "stopped"
        raise
    finally:
        trackers.close(ending, report)


def callbacks_of(names: str) -> list[Listener]:
    """The callbacks that a list of names stands for, each made anew.

    Args:
        names: `package.module:Class`, or an object, separated by commas.

    Raises:
        InputError: there is none of that name, or it is no listener.
    """
    found = []
    for name in filter(None, (part.strip() for part in names.split(","))):
        try:
            one = imported(name)
        except InputError as error:
            raise InputError("callbacks", name, error.allowed) from None
        one = one() if isinstance(one, type) else one
        if not isinstance(one, Listener):
            raise InputError("callbacks", name, "must be a subclass of fedsam.Listener")
        found.append(one)
    return found


class Steady(Listener):
    """Tells a listener until it fails."""

    def __init__(self, listener: Listener) -> None:
        self._listener: Listener | None = listener

    def started(self, run: Run, engine: str, reason: str, done: int) -> None:
        """As a listener is told."""
        self._tell("started", run, engine, reason, done)

    def round(self, done: int) -> None:
        """As a listener is told."""
        self._tell("round", done)

    def recorded(self, record: Record) -> None:
        """As a listener is told."""
        self._tell("recorded", record)

    def finished(self, result: Result) -> None:
        """As a listener is told."""
        self._tell("finished", result)

    def _tell(self, what: str, *given: Any) -> None:
        if self._listener is None:
            return
        try:
            getattr(self._listener, what)(*given)
        except Exception as error:
            name = type(self._listener).__name__
            log.warning("callback %s failed and is told no more (%s: %s)", name, type(error).__name__, error)
            self._listener = None


class Trackers(Listener):
    """Tells the trackers of a run.

    Args:
        run: the description.
        folder: its directory, if it has one.
        about: what it runs on.
    """

    def __init__(self, run: Run, folder: Path | None, about: Mapping[str, Any]) -> None:
        self.run, self.folder, self.about = run, folder, about
        self.waiting = each_of(run.track)
        self.tracking: dict[str, Tracking] = {}

    def started(self, run: Run, engine: str, reason: str, done: int) -> None:
        """Start them."""
        place = self.folder or Path("runs") / run.title()
        keys = {name: value for name, value in run.keys().items() if not name.startswith("track.")}
        group = place.absolute().parent.name
        begun = Begun(place.name, group, keys, self.about, place.absolute(), self.folder is not None, done)
        for tracker in self.waiting:
            try:
                self.tracking[tracker.name] = tracker.started(begun)
            except Exception as error:
                self._warn(tracker.name, error)

    def recorded(self, record: Record) -> None:
        """Tell them its numbers."""
        found = numbers(record)
        self._each(lambda tracking: tracking.recorded(int(record["round"]), found))

    def close(self, ending: Ending, report: Callable[[Path], object]) -> None:
        """Give them the run's files, and end."""
        if self.folder and self.tracking and ending == "finished":
            try:
                report(self.folder)
            except Exception as error:
                log.warning("the report is not written (%s: %s)", type(error).__name__, error)
        files = files_of(self.folder) if self.folder else []
        self._each(lambda tracking: tracking.finished(ending, files))

    def _each(self, tell: Callable[[Tracking], None]) -> None:
        for name, tracking in list(self.tracking.items()):
            try:
                tell(tracking)
            except Exception as error:
                del self.tracking[name]
                self._warn(name, error)

    def _warn(self, name: str, error: Exception) -> None:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        log.warning("tracker %s failed and is told no more (%s); the run goes on", name, text[:300])


def numbers(record: Mapping[str, Any], before: str = "") -> dict[str, float]:
    """The numbers of a record by name, those of groups with a slash; what is no number is left out.

    >>> numbers({"round": 2, "train_loss": 0.5, "clients": [1, 4], "local": {"mean": 1, "worst": None}})
    {'train_loss': 0.5, 'local/mean': 1.0}
    """
    found: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            found |= numbers(value, f"{before}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and (before or name != "round"):
            found[f"{before}{name}"] = float(value)
    return found


def files_of(folder: Path) -> Sequence[Path]:
    """The files of a run directory that trackers are given, in the order of their names."""
    return sorted(file for file in folder.iterdir() if file.is_file() and file.suffix in KEPT)
