"""Runs that are killed: at each of their file operations, in the middle of a write, at random moments; or have the disk
full. Gone on with, they must end in the same bytes.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from fedsam import resume, simulate
from fedsam.errors import InputError
from fedsam.rng import stream
from fedsam.torture.base import Scale, Trial, end_here, forked
from fedsam.torture.runs import METHODS, described, difference

CHANGING = ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "os.link", "os.symlink")
"""Of Python's audit events those that may change a folder."""
STEP = 4096  # bytes between the sizes at which a file stops growing


def at_operations(folder: Path, scale: Scale) -> Iterator[Trial]:
    """Kill the first methods, those with the most files, before each file operation."""
    for method in list(METHODS)[: 1 if scale.methods == 1 else 2]:
        whole = _whole(method, folder)
        for number in range(0, _operations(method, folder), scale.every):
            out = folder / "run"
            forked(partial(_with, _kill_at(number, out), method, out))
            yield Trial(f"{method}: SIGKILL before file operation {number + 1}", _gone_on(method, out, whole))


def within_writes(folder: Path, scale: Scale) -> Iterator[Trial]:
    """Kill a run when a file of its grows beyond some size, with what fitted already written."""
    method = next(iter(METHODS))
    whole = _whole(method, folder)
    largest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    for size in range(100, largest, STEP * scale.every):
        out = folder / "run"

        ended = forked(partial(_within, size, signal.SIG_DFL, method, out))
        if ended != -signal.SIGXFSZ:
            yield Trial(f"{method}: killed in a file's byte {size}", f"it ended with {ended}, and was to be killed")
        yield Trial(f"{method}: killed in a file's byte {size}", _gone_on(method, out, whole))


def at_moments(folder: Path, scale: Scale) -> Iterator[Trial]:
    """Kill runs with all kinds of state at moments drawn over their length, every third a second time."""
    methods = list(METHODS)[: scale.methods]
    for method in methods:
        began = time.monotonic()
        whole = _whole(method, folder)
        length = time.monotonic() - began
        for number in range(-(-scale.moments // len(methods))):
            rng, out = stream(number, "torture", client=methods.index(method)), folder / "run"
            forked(partial(_start, method, out), _kill_after(length * rng.random()))
            again = ""
            if number % 3 == 2 and out.exists():
                forked(partial(_go_on, method, out), _kill_after(length * rng.random()))
                again = ", and again"
            yield Trial(f"{method}: SIGKILL at a random moment{again}", _gone_on(method, out, whole))


def disk_full(folder: Path, scale: Scale) -> Iterator[Trial]:
    """Have the disk be full at each file operation, and within writes; with room again, the run must go on."""
    method = next(iter(METHODS))
    whole = _whole(method, folder)
    for number in range(0, _operations(method, folder), scale.every):
        out = folder / "run"
        forked(partial(_with, _full_at(number, out), method, out))
        yield Trial(f"disk full at file operation {number + 1}", _gone_on(method, out, whole))
    largest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    for size in range(100, largest, STEP * scale.every):
        out = folder / "run"

        ended = forked(partial(_within, size, signal.SIG_IGN, method, out))  # an OSError where the signal is ignored
        wrong = None if ended == 1 else f"it ended with {ended}"
        yield Trial(f"no room beyond byte {size} of a file", wrong or _gone_on(method, out, whole))


def _within(size: int, handler: signal.Handlers, method: str, out: Path) -> None:
    """Run while no file may grow beyond so many bytes."""
    signal.signal(signal.SIGXFSZ, handler)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    _start(method, out)


def _start(method: str, out: Path) -> None:
    simulate(described(method, out))


def _go_on(method: str, out: Path) -> None:
    """As a user would: resume it; where nothing was there yet, start it."""
    try:
        resume(out)
    except InputError:
        if (out / "run.json").exists():
            raise
        _start(method, out)


def _whole(method: str, folder: Path) -> Path:
    """The same run undisturbed; none is left from before."""
    whole = folder / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    if forked(partial(_start, method, whole)):
        raise RuntimeError(f"{method}: it does not even run undisturbed")
    return whole


def _gone_on(method: str, out: Path, whole: Path) -> str | None:
    """What is wrong after the run was gone on with; the directory is removed."""
    try:
        if ended := forked(partial(_go_on, method, out)):
            return f"cannot be gone on with (status {ended})"
        return difference(out, whole)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _kill_after(seconds: float) -> Callable[[int], None]:
    def wait(child: int) -> None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)

    return wait


def _operations(method: str, folder: Path) -> int:
    """How many file operations a run takes."""
    out, told = folder / "run", folder / "count"

    def work() -> None:
        counter = _Counter(out, lambda number: None)
        _with(counter, method, out)
        told.write_text(str(counter.count), encoding="utf-8")

    forked(work)
    shutil.rmtree(out)
    return int(told.read_text(encoding="utf-8"))


class _Counter:
    """An audit hook that counts what changes a folder, and is asked before each."""

    def __init__(self, folder: Path, before: Callable[[int], None]) -> None:
        self.folder, self.before, self.count = str(folder), before, 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        reads = event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if event in CHANGING and not reads and self.folder in str(arguments[0]):
            self.count += 1
            self.before(self.count - 1)


def _kill_at(number: int, folder: Path) -> _Counter:
    def before(count: int) -> None:
        if count == number:
            end_here()

    return _Counter(folder, before)


def _full_at(number: int, folder: Path) -> _Counter:
    def before(count: int) -> None:
        if count == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return _Counter(folder, before)


def _with(hook: _Counter, method: str, out: Path) -> None:
    sys.addaudithook(hook)
    _start(method, out)
