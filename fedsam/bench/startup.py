"""From a command to its first sign of life: `fedsam --help`, and `fedsam run rounds=1` of the digits demonstration
until its first round is recorded; each in a process of its own.

`limit_ratio` is over what cannot be avoided: starting Python, and importing torch in it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from fedsam.bench import Row
from fedsam.errors import RunError

FEDSAM = (sys.executable, "-m", "fedsam")
PYTHON, TORCH = (sys.executable, "-c", "pass"), (sys.executable, "-c", "import torch")
HELP = "fedsam --help"
FIRST = "fedsam run, first round recorded"
PATIENCE = 120.0  # seconds


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """The two commands and their limits in turn; the first turn, which reads files into memory, is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ("python", "import torch", HELP, FIRST)}
    for turn in range(rounds + 1):
        taken = finished(PYTHON), finished(TORCH), finished((*FEDSAM, "--help")), first_round()
        if turn:
            for times, now in zip(seconds.values(), taken, strict=True):
                times.append(now)
    limits = {"python": "python", "import torch": "import torch", HELP: "python", FIRST: "import torch"}
    for name, times in seconds.items():
        limit = limits[name]
        yield Row(name, "none", "none", times, median(times) / median(seconds[limit]), f"limit: {limit}")


def finished(command: Sequence[str]) -> float:
    """Seconds until a command has ended.

    Raises:
        RunError: it fails.
    """
    began = time.perf_counter()
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8", errors="replace", check=False
    )
    taken = time.perf_counter() - began
    if done.returncode:
        raise RunError(f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}")
    return taken


def first_round() -> float:
    """Seconds until a run has written its first record; its end is waited for, but does not count.

    Raises:
        RunError: it ends or time passes without a record.
    """
    with tempfile.TemporaryDirectory() as parent:
        out = Path(parent) / "run"
        metrics, command = out / "metrics.jsonl", (*FEDSAM, "run", "rounds=1", f"out={out}")
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while not (metrics.exists() and metrics.stat().st_size):
                taken = time.perf_counter() - began
                if process.poll() is not None or taken > PATIENCE:
                    process.kill()
                    raise RunError(f"{' '.join(command[1:])} recorded nothing within {taken:.1f} s")
                time.sleep(0.002)
            return time.perf_counter() - began
