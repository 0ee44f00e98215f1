"""What a person sees on the terminal: progress on standard error, results on standard output."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

from fedsam.measure.names import further_of, loss_of, split_of, value_of
from fedsam.measure.score import ACCURACY
from fedsam.run import Run
from fedsam.runs.notebook import Cell, in_notebook
from fedsam.runs.records import Record
from fedsam.runs.result import Listener, Result
from fedsam.runs.turned_out import turned_out

HANGUP = getattr(signal, "SIGHUP", None)


class _Steady:
    """A stream whose failing stops nothing: a terminal can go away, a disk can be full."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError, AttributeError, RuntimeError):  # closed, none at all, or being written to
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError, AttributeError, RuntimeError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Lines:
    """What `Progress` asks of a place where nothing can be kept up to date, such as a pipe: lines alone.

    Args:
        quiet: whether to show nothing.
    """

    live = False

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def start(self) -> None:
        """Nothing is shown before there is something to say."""

    def print(self, text: str) -> None:
        """A line."""
        if not self.quiet:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def update(self, **state: Any) -> None:
        """How far it is, which `Progress` tells in lines."""

    def stop(self) -> None:
        """Nothing is left to show."""


def on_terminal() -> bool:
    """Whether standard error is a terminal on which a line can be written over."""
    try:
        return bool(sys.stderr.isatty()) and os.environ.get("TERM") not in ("dumb", "unknown")
    except (AttributeError, ValueError):  # none at all, or closed
        return False


class Progress(Listener):
    """Live progress with rounds per second and time left; on a pipe, a plain line every few seconds."""

    EVERY = 5.0  # seconds between plain lines
    score = ACCURACY  # how the headline metric is told

    def __init__(self, quiet: bool = False) -> None:
        self.shown: Any
        if in_notebook():
            self.shown = Cell(quiet)
        elif quiet or not on_terminal():
            self.shown = Lines(quiet)
        else:
            from fedsam.runs.bar import Bar

            bar = Bar()
            self.shown = bar if bar.live else Lines()  # the environment says much of terminals
        self.label = ""
        self.offset = self.done = self.begin = 0
        self.total: int | None = None
        self.note = ""
        self.began = self.told = time.monotonic()

    def __enter__(self) -> Self:
        notes = logging.getLogger("fedsam")
        self.handlers = notes.handlers
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("note: %(message)s"))
        notes.handlers = [*self.handlers, handler]  # whoever listens already goes on doing so
        self.shown.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shown.stop()
        logging.getLogger("fedsam").handlers = self.handlers

    def plan(self, total: int) -> None:
        """Count rounds over several runs, `total` in all."""
        self.total = total

    def next(self, label: str, offset: int) -> None:
        """A run of several begins, after `offset` rounds of others."""
        self.label, self.offset = label, offset

    def ended(self, label: str, done: int) -> None:
        """One of several runs that go on at once has ended, and with it so many rounds in all."""
        self.shown.update(total=self.total, completed=done, description="rounds", note=label)
        if not self.shown.live:
            self.shown.print(f"{label}, {done} of {self.total} rounds")

    def started(self, run: Run, engine: str, reason: str, done: int) -> None:
        """Say what runs, on which engine and why."""
        self.score = run.learnt.score
        if self.total is None:
            self.shown.print(f"{run.title()}: engine {engine} ({reason})")
            if done:
                self.shown.print(f"going on after round {done} of {run.rounds}")
        if self.offset + done == 0 or self.begin == 0:
            self.begin, self.began = self.offset + done, time.monotonic()
        self.shown.update(
            total=self.total or run.rounds,
            description=self.label or "rounds",
            completed=self.offset + done,
        )
        self.rounds = self.total or run.rounds

    def round(self, done: int) -> None:
        """A round is done."""
        self.done = self.offset + done
        self.shown.update(completed=self.done)
        now = time.monotonic()
        if not self.shown.live and now - self.told >= self.EVERY:
            self.told = now
            speed = (self.done - self.begin) / (now - self.began)
            left = (self.rounds - self.done) / speed
            words = [
                self.label,
                f"round {self.done} of {self.rounds}",
                f"{speed:.3g} rounds/s",
                f"{left:.0f} s left",
                self.note,
            ]
            self.shown.print(", ".join(word for word in words if word))

    def recorded(self, record: Record) -> None:
        """Show the latest headline metric."""
        splits = [split_of(record), *further_of(record)]
        values = {split: self.score.text(record[f"{split}_{self.score.name}"]) for split in splits}
        self.note = ", ".join(f"{split} {self.score.words} {value}" for split, value in values.items())
        self.shown.update(note=self.note)


@contextmanager
def steady() -> Iterator[None]:
    """Inside, what cannot be written to standard error stops nothing."""
    stderr = sys.stderr
    sys.stderr = _Steady(stderr)
    try:
        yield
    finally:
        sys.stderr = stderr


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, or a notebook's button that interrupts; the second time it stops at once.

    Of a program that has a handler of its own, and of threads other than the first, nothing is changed.
    """
    stop, first = threading.Event(), threading.current_thread() is threading.main_thread()
    if not first or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield stop
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        sys.stderr.write("\nstopping after this round (once more to stop at once)\n")

    signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def graceful() -> Iterator[threading.Event]:
    """An event that Ctrl-C, a termination signal or the end of the terminal sets; a second Ctrl-C stops at once.

    A terminal that goes away says so several times, which stops nothing at once; a process that is to live on without
    it (`nohup`) is not stopped. Inside, what cannot be written to standard error stops nothing.
    """
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if not stop.is_set():
            stop.set()
            sys.stderr.write("\nstopping after this round (once more to stop at once)\n")
        elif number != HANGUP:
            raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    if HANGUP is not None and signal.getsignal(HANGUP) != signal.SIG_IGN:
        numbers.append(HANGUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        with steady():
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show_facts(spec: dict[str, str]) -> None:
    """Labels and values, one pair a line; never cut off, so that a path can be copied."""
    width = max(map(len, spec))
    for label, value in spec.items():
        print(f"{label:<{width}}  {value}")


def show_result(result: Result) -> None:
    """The result of one run, for a person."""
    summary = result.summary()
    averaged = result.run.average.name != "none"
    split, score = split_of(summary), result.run.learnt.score
    spec = {f"{split} {score.words}": score.text(value_of(summary))}
    spec |= {"without averaging": score.text(summary[f"raw_{split}_{score.name}"])} if averaged else {}
    robust = f"robust_{score.name}"
    spec |= {f"robust {score.words}": score.text(summary[robust])} if robust in summary else {}
    for other in further_of(summary):
        spec[f"{other} {score.words}"] = score.text(summary[f"{other}_{score.name}"])
    spec |= {f"{split} loss": f"{loss_of(summary):.4f}", "seconds per round": f"{summary['seconds_per_round']:.4g}"}
    spec |= {"turnout": told} if (told := turned_out(result.metrics)) else {}
    where = {"run directory": summary["out"] or "none"}
    if result.out:
        where["report"] = str(result.out / "report.html")
    show_facts({**spec, **where})
