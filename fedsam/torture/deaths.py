"""Processes of a Ray cluster that are killed in the middle of a run: it ends in the same bytes, or says what has ended
and goes on from its checkpoint.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from fedsam import resume, simulate
from fedsam.errors import RunError
from fedsam.result import Listener
from fedsam.torture.base import Scale, Trial
from fedsam.torture.runs import METHODS, described, difference

ENGINE = {"engine.name": "ray", "engine.workers": 2, "engine.block": 1}


class _Killing(Listener):
    """Kills a process of the cluster after some rounds."""

    def __init__(self, name: str, at: int) -> None:
        self.name, self.at, self.killed = name, at, 0

    def round(self, done: int) -> None:
        if done != self.at:
            return
        for pid in _members(self.name)[:1]:
            os.kill(pid, signal.SIGKILL)
            self.killed += 1


def campaign(folder: Path, scale: Scale) -> Iterator[Trial]:
    """Workers, the raylet and the GCS of clusters of their own, each killed once a run."""
    if not scale.deaths:
        return
    method = next(iter(METHODS))
    whole = folder / "whole"
    simulate(described(method, whole, **ENGINE))
    for number in range(scale.deaths):
        for name in ("ray::", "raylet", "gcs_server"):
            yield _trial(name, 2 + 3 * number % 9, method, folder / f"{name.strip(':')}{number}", whole)


def _trial(name: str, at: int, method: str, out: Path, whole: Path) -> Trial:
    what, listener = f"{name.strip(':')} killed after round {at}", _Killing(name, at)
    try:
        simulate(described(method, out, **ENGINE), listener)
    except RunError as error:
        if "\n" in str(error):
            return Trial(what, f"told in several lines: {error}")
        try:
            resume(out)
        except RunError as again:
            return Trial(what, f"cannot be gone on with: {again}")
    if listener.killed != 1:
        return Trial(what, "nothing was there to be killed")
    return Trial(what, difference(out, whole))


def _members(name: str) -> list[int]:
    """The processes of this process's own cluster whose names begin so; workers that have nothing to do come last."""
    from fedsam.cluster import keeper

    folders = [folder for folder in keeper.parent().glob(f"{keeper.PREFIX}*") if os.getpid() in keeper.owner(folder)]
    found = []
    for pid in sorted(pid for folder in folders for pid in keeper.members(folder)):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        except OSError:
            continue
        if Path(words.split(" ")[0]).name.startswith(name):
            found.append(("IDLE" in words, pid))
    return [pid for _, pid in sorted(found)]
