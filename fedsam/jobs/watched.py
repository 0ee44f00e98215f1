"""What is around a job that takes its time: progress, callbacks, and Ctrl-C."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from fedsam.cluster.kept import keeping
from fedsam.runs.notebook import in_notebook
from fedsam.runs.progress import Progress, interruptible, steady
from fedsam.runs.records import Record
from fedsam.runs.result import Listener

Callback = Listener | Callable[[Record], object]
"""A listener, or a function that is called with each record."""


@contextmanager
def watched(quiet: bool | None, stop: threading.Event | None = None) -> Iterator[tuple[Progress, threading.Event]]:
    """Progress, and an event that ends the job after the round in progress.

    Args:
        quiet: whether to show nothing; None = unless somebody looks on, at a terminal or in a notebook.
        stop: who waits for Ctrl-C already; None = nobody, so it is waited for here.
    """
    seen = in_notebook() or (sys.stderr is not None and sys.stderr.isatty())
    with (
        steady(),
        keeping(),
        nullcontext(stop) if stop is not None else interruptible() as ending,
        Progress(quiet=not seen if quiet is None else quiet) as progress,
    ):
        yield progress, ending


class Called(Listener):
    """A function as a listener."""

    def __init__(self, function: Callable[[Record], object]) -> None:
        self.function = function

    def recorded(self, record: Record) -> None:
        """Call it."""
        self.function(record)


def listeners_of(callbacks: Sequence[Callback]) -> list[Listener]:
    """The callbacks as listeners."""
    return [each if isinstance(each, Listener) else Called(each) for each in callbacks]
