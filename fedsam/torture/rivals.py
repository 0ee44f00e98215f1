"""Two processes at once on one directory: one does it and the other is refused, and it ends as with one alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from fedsam.torture.base import Scale, Trial
from fedsam.torture.damage import judged
from fedsam.torture.runs import COMMON, difference

COMMAND = [sys.executable, "-c", "from fedsam.cli.app import main; main()"]
KEYS = [f"{name}={value}" for name, value in COMMON.items() if name != "rounds"]
ROUNDS = "rounds=200"


def campaign(folder: Path, scale: Scale) -> Iterator[Trial]:
    """Runs, resumptions, sweeps and tunings, two at once."""
    whole, half = folder / "whole", folder / "half"
    _all([["run", *KEYS, ROUNDS, f"out={whole}", "-q"]], folder)
    for number in range(max(1, scale.moments // 25)):
        yield from _runs(folder, whole, number)
        _stopped(half, folder)
        yield from _resumptions(folder, half, whole, number)
        yield from _sweeps(folder, number)
        yield _unnamed(folder, number)


def _runs(folder: Path, whole: Path, number: int) -> Iterator[Trial]:
    out = folder / f"run{number}"
    ended = _all([["run", *KEYS, ROUNDS, f"out={out}", "-q"]] * 2, folder)
    yield Trial("two runs with one out", _one_of(ended) or difference(out, whole))


def _resumptions(folder: Path, half: Path, whole: Path, number: int) -> Iterator[Trial]:
    out = folder / f"resumed{number}"
    shutil.copytree(half, out)
    ended = _all([["run", "--resume", str(out), "-q"]] * 2, folder)
    yield Trial("a run resumed twice", _one_of(ended) or difference(out, whole))


def _sweeps(folder: Path, number: int) -> Iterator[Trial]:
    out = folder / f"sweep{number}"
    words = ["sweep", *KEYS, "rounds=20", "client.lr=0.1,0.2", "--seeds", "2", f"out={out}", "-q", "--apart"]
    yield Trial("a sweep started twice", _one_of(_all([words] * 2, folder)))
    again = _all([words], folder)
    yield Trial("the sweep once more, alone", None if again[0][0] == 0 else f"ended with {again[0]}")
    words = ["tune", *KEYS, "rounds=20", "client.lr=0.1,0.2", "--search", "grid", "--seeds", "1", "-q"]
    words += ["--out", str(folder / f"tune{number}")]
    yield Trial("a tuning started twice", _one_of(_all([words] * 2, folder)))
    again = _all([words], folder)
    yield Trial("the tuning once more, alone", None if again[0][0] == 0 else f"ended with {again[0]}")


def _unnamed(folder: Path, number: int) -> Trial:
    """Started at the same moment without `out`: each has a directory of its own."""
    client = folder / f"array{number}"
    client.mkdir()
    radii = (0.01, 0.02, 0.05, 0.1)
    words = [["run", *KEYS, "rounds=3", "client.name=sam", f"client.rho={rho}", "-q"] for rho in radii] * 2
    ended = _all(words, client)
    made = [path for path in (client / "runs").iterdir() if (path / "model.safetensors").exists()]
    failed = [told for status, told in ended if status]
    what = f"{len(words)} runs started at once without out"
    return Trial(what, failed[0] if failed else None if len(made) == len(words) else f"{len(made)} directories")


def _stopped(half: Path, folder: Path) -> None:
    """A run that was ended after its first checkpoint."""
    if half.exists():
        return
    begun = subprocess.Popen([*COMMAND, "run", *KEYS, ROUNDS, f"out={half}", "-q"], cwd=folder, env=_environment())
    while begun.poll() is None and not (half / "checkpoint" / "manifest.json").exists():
        time.sleep(0.01)
    begun.send_signal(signal.SIGINT)
    begun.wait()


def _all(commands: Sequence[list[str]], folder: Path) -> list[tuple[int, str]]:
    """Commands started at once: how each ended, and what it told on standard error."""
    begun = [
        subprocess.Popen(
            [*COMMAND, *words],
            cwd=folder,
            env=_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        for words in commands
    ]
    told = [process.communicate()[1] for process in begun]
    return [(process.returncode, text) for process, text in zip(begun, told, strict=True)]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def _one_of(ended: list[tuple[int, str]]) -> str | None:
    """What is wrong with how two commands ended, of which the second must have waited or been refused in one line."""
    wrong = [judged(status, told) for status, told in ended]
    if any(wrong):
        return "; ".join(filter(None, wrong))
    return None if 0 in [status for status, _ in ended] else f"none of them did it: {ended}"
