"""Processes of a Ray cluster that are killed in the middle of a run: it ends in the same bytes, or says what has ended
and goes on to them from its checkpoint.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from fedsam.torture.base import Scale, Trial
from fedsam.torture.rivals import COMMAND, KEYS
from fedsam.torture.runs import difference

RAY = [*KEYS, "engine.name=ray", "rounds=60", "evaluate_every=1", "engine.workers=2", "engine.block=1", "-q"]


def campaign(folder: Path, scale: Scale) -> Iterator[Trial]:
    """Workers, the raylet and the GCS of clusters of their own, each killed once a run."""
    if not scale.deaths:
        return
    whole = folder / "whole"
    subprocess.run([*COMMAND, "run", *RAY, f"out={whole}"], check=True, capture_output=True)
    for number in range(scale.deaths):
        for name in ("ray::", "raylet", "gcs_server"):
            yield _trial(name, 3 + 11 * number % 40, folder / f"{name.strip(':')}{number}", whole)


def _trial(name: str, at: int, out: Path, whole: Path) -> Trial:
    what = f"{name.strip(':')} killed after round {at}"
    words = [*COMMAND, "run", *RAY, f"out={out}"]
    begun = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    while begun.poll() is None and _rounds(out) < at:
        time.sleep(0.01)
    members = _members(begun.pid, name)
    for pid in members[:1]:
        os.kill(pid, signal.SIGKILL)
    told = begun.communicate()[1].splitlines()
    if not members:
        return Trial(what, "nothing was there to be killed")
    if begun.returncode == 1 and any(line.startswith("error: ") for line in told):  # Ray may write around it
        subprocess.run([*COMMAND, "run", "--resume", str(out), "-q"], check=False, capture_output=True)
    elif begun.returncode:
        return Trial(what, f"ended with {begun.returncode} and told: {told[-1:]}")
    return Trial(what, difference(out, whole))


def _rounds(out: Path) -> int:
    file = out / "metrics.jsonl"
    return len(file.read_bytes().splitlines()) if file.exists() else 0


def _members(owner: int, name: str) -> list[int]:
    """The processes of a process's own cluster whose names begin so; workers that have nothing to do come last."""
    from fedsam.cluster import keeper

    folders = [folder for folder in keeper.parent().glob(f"{keeper.PREFIX}*") if owner in keeper.owner(folder)]
    found = []
    for pid in sorted(pid for folder in folders for pid in keeper.members(folder)):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        except OSError:
            continue
        if Path(words.split(" ")[0]).name.startswith(name) and "Agent" not in words:
            found.append(("IDLE" in words, pid))
    return [pid for _, pid in sorted(found)]
