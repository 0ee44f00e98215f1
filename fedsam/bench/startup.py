"""From a command to its first sign of life: `fedsam --help`, and `fedsam run rounds=1` of the digits demonstration
until its first round is recorded; each in a process of its own.

`limit_ratio` is over what cannot be avoided: starting Python, and importing torch in it. With peers the first round of
a run on Flower with 20 clients, too, over that of a minimal Flower app.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from fedsam.bench import Row
from fedsam.errors import RunError

FEDSAM = (sys.executable, "-m", "fedsam")
PYTHON, TORCH = (sys.executable, "-c", "pass"), (sys.executable, "-c", "import torch")
HELP = "fedsam --help"
FIRST = "fedsam run, first round recorded"
NODES = 20
ON_FLOWER = "engine.name=flower", f"data.clients={NODES}", f"cohort={NODES}"
QUICKSTART = (sys.executable, "-m", "fedsam.flower.quickstart")
FLOWER, STOCK = "fedsam run engine.name=flower, first round recorded", "a minimal Flower app, first round aggregated"
PATIENCE = 120.0  # seconds


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """The two commands and their limits in turn; the first turn, which reads files into memory, is not counted."""
    parts: dict[str, Callable[[], float]] = {
        "python": partial(finished, PYTHON),
        "import torch": partial(finished, TORCH),
        HELP: partial(finished, (*FEDSAM, "--help")),
        FIRST: first_round,
    }
    limits = {"python": "python", "import torch": "import torch", HELP: "python", FIRST: "import torch"}
    if versus and find_spec("flwr"):
        parts |= {STOCK: first_of_stock, FLOWER: partial(first_round, *ON_FLOWER)}
        limits |= {STOCK: STOCK, FLOWER: STOCK}
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for turn in range(rounds + 1):
        for name, part in parts.items():
            taken = part()
            seconds[name] += [taken] if turn else []
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


def first_round(*keys: str) -> float:
    """Seconds until a run with these keys has written its first record; its end is waited for, but does not count.

    Raises:
        RunError: it ends or time passes without a record.
    """
    with tempfile.TemporaryDirectory() as parent:
        out = Path(parent) / "run"
        return until(
            out / "metrics.jsonl", (*FEDSAM, "run", *keys, "rounds=1", f"out={out}"), lambda f: f.stat().st_size
        )


def first_of_stock() -> float:
    """Seconds until a minimal Flower app has aggregated its first round.

    Raises:
        RunError: it ends or time passes before.
    """
    with tempfile.TemporaryDirectory() as parent:
        file = Path(parent) / "aggregated"
        return until(file, (*QUICKSTART, str(NODES), str(file)), lambda _: True)


def until(file: Path, command: Sequence[str], enough: Callable[[Path], object]) -> float:
    """Seconds until a command has made a file, with enough in it; its end is waited for, but does not count.

    Raises:
        RunError: it ends or time passes before.
    """
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (file.exists() and enough(file)):
            taken = time.perf_counter() - began
            if process.poll() is not None or taken > PATIENCE:
                process.kill()
                raise RunError(f"{' '.join(command[1:])} recorded nothing within {taken:.1f} s")
            time.sleep(0.002)
        return time.perf_counter() - began
