"""Runs and sweeps that are stopped and continued, and what they end in."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from fedsam import Run
from fedsam.runs.progress import Progress
from fedsam.runs.result import Listener
from fedsam.sweeps.compare import compare
from fedsam.sweeps.grid import settings

TIMES = ("seconds", "eval_seconds")


def described(out: Path, **changes: Any) -> Run:
    keys = {
        "client.name": "asam",
        "client.momentum": 0.5,
        "average.name": "swa",
        "average.cycle": 2,
        "average.start": 0.5,
        "rounds": 12,
        "evaluate_every": 3,
        "checkpoint_every": 2,
        "data.clients": 10,
        "data.samples_per_client": 24,
        "client.epochs": 1,
        "cohort": 3,
        "out": str(out),
    }
    return Run.from_keys({**keys, **changes})


def outcome(out: Path) -> tuple[bytes, list[dict[str, Any]]]:
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return (out / "model.safetensors").read_bytes(), [{k: v for k, v in r.items() if k not in TIMES} for r in records]


class StopAt(Listener):
    """Sets `stop` when round `at` is done."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.stop = threading.Event()

    def round(self, done: int) -> None:
        if done == self.at:
            self.stop.set()


GRID = {"client.name": "sgd,sam", "client.rho": "0.2,0.4", "rounds": "6", "evaluate_every": "2", "data.clients": "10"}
GRID |= {"cohort": "2", "client.epochs": "1", "checkpoint_every": "2", "engine.threads": "1"}


def swept(
    out: Path,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
    apart: bool = False,
    **keys: str,
) -> Any:
    return compare(settings({**GRID, **keys}), 2, progress or Progress(quiet=True), stop, out=out, apart=apart)


def table(out: Path) -> list[dict[str, Any]]:
    rows = json.loads((out / "compare.json").read_text())
    return [{name: value for name, value in row.items() if name != "seconds_per_round"} for row in rows]
