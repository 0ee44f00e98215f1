"""What a campaign is: it tries to break runs in one way, and says of each trial what came of it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Trial:
    """One attempt: what was done, and what was wrong afterwards; None = it was survived."""

    what: str
    wrong: str | None


@dataclass(frozen=True)
class Scale:
    """How much a campaign does.

    Args:
        name: of the scale.
        every: of the file operations of a run, one in so many is the one at which it is killed or the disk is full.
        moments: at which a run is killed, drawn over its length.
        methods: stateful configurations that are killed.
        inputs: bad inputs.
        deaths: of processes of a Ray cluster.
    """

    name: str
    every: int
    moments: int
    methods: int
    inputs: int
    deaths: int


SHORT = Scale("short", every=7, moments=2, methods=1, inputs=40, deaths=0)
USUAL = Scale("usual", every=1, moments=100, methods=13, inputs=250, deaths=2)
LONG = Scale("long", every=1, moments=1000, methods=13, inputs=2000, deaths=10)

Campaign = Callable[[Path, Scale], Iterator[Trial]]
"""Given an empty folder to work in."""


def forked(work: Callable[[], None], until: Callable[[int], None] | None = None) -> int:
    """Do something in a copy of this process, silently, and say how it ended: 0, 1 for an exception, or the number of
    the signal, negative.

    Args:
        work: what it does.
        until: is told its process id meanwhile, for example to kill it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    if until is not None:
        until(child)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def end_here() -> None:
    """As if the machine lost its power."""
    os.kill(os.getpid(), signal.SIGKILL)
