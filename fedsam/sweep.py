"""Many runs, of which those that are finished are not repeated and those that were begun are continued."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fedsam.budget import must_be_few
from fedsam.engine.joint import Joint
from fedsam.errors import InputError
from fedsam.naming import directory_names
from fedsam.record import Record, RunDirectory
from fedsam.result import Listener
from fedsam.run import Run
from fedsam.simulation import resume, simulate

Failed = str | None
"""What went wrong with a run, in one line."""


@dataclass(frozen=True)
class Job:
    """One run of several: its setting, and its description with seed and directory."""

    setting: str
    run: Run

    @property
    def label(self) -> str:
        """Its name for a person."""
        return f"{self.setting}, seed {self.run.seed}"

    @property
    def path(self) -> Path:
        """Its run directory."""
        return Path(str(self.run.out))


def plan(runs: Mapping[str, Run], seeds: int, out: Path) -> list[Job]:
    """Every setting with every seed, from each run's own `seed` on; all settings of a seed before the next seed, so
    that what there is of an unfinished sweep can be compared in pairs.

    Args:
        runs: the settings by name.
        out: the directory that holds all run directories.

    Raises:
        InputError: these are too many.
    """
    must_be_few("seeds", seeds, seeds * len(runs), "runs")
    names = directory_names(list(runs))
    return [
        Job(setting, run.replace(seed=run.seed + number, out=str(out / f"{names[setting]}-seed{run.seed + number}")))
        for number in range(seeds)
        for setting, run in runs.items()
    ]


def is_done(run: Run) -> bool:
    """Whether the run's directory holds it, finished.

    Raises:
        InputError: the directory holds another run, or cannot be read.
    """
    path = Path(str(run.out))
    if not (path / "run.json").exists():
        return False
    directory, there = RunDirectory.open(path)
    if there.digest() != run.digest():
        other, own = there.keys(), run.keys()
        differing = sorted(name for name in own if other.get(name) != own[name] and name != "out")
        what = f", with other values of {', '.join(differing[:3])}" if differing else ""
        raise InputError("out", str(path), f"holds another run{what}; choose another out")
    records = directory.metrics()
    return (path / "model.safetensors").exists() and bool(records) and records[-1]["round"] == run.rounds


def carry_out(
    run: Run, listener: Listener | None = None, stop: threading.Event | None = None, joint: Joint | None = None
) -> None:
    """Finish a run: from its beginning, from its checkpoint, or not at all if it is done.

    Args:
        listener, stop, joint: as for `simulate`.

    Raises:
        InputError, RunError, Interrupted: as `simulate` and `resume` do.
    """
    path = Path(str(run.out))
    if is_done(run):
        return
    if (path / "run.json").exists():
        resume(path, listener, stop, joint=joint)
        return
    if path.is_dir():
        (path / ".run.json.writing").unlink(missing_ok=True)  # left by a process that was killed
    simulate(run, listener, stop, joint)


def records_of(job: Job) -> list[Record]:
    """The recorded rounds of a finished run."""
    return RunDirectory.open(job.path)[0].metrics()


def default_out(runs: Mapping[str, Run], seeds: int) -> Path:
    """Where a sweep lies that is given no `out`: the same for the same settings and seeds."""
    text = json.dumps([seeds, *(run.digest() for run in runs.values())])
    return Path("runs") / f"sweep-{sha256(text.encode()).hexdigest()[:10]}"
