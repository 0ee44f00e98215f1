"""Many runs, of which those that are finished are not repeated and those that were begun are continued."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from fedsam.border.budget import must_be_few
from fedsam.engine.multi_run import MultiRun
from fedsam.errors import Busy, Damaged, InputError
from fedsam.federated.simulate import resume, simulate
from fedsam.measure.schedule import due, measurements_of
from fedsam.run import Run
from fedsam.runs.directory import RunDirectory
from fedsam.runs.naming import directory_names, former_names
from fedsam.runs.records import Record
from fedsam.runs.result import Listener

PATIENCE, PAUSE = 20.0, 0.5  # seconds for such workers to end, and between two looks

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
    names, former = directory_names(list(runs)), former_names(list(runs))

    def place(setting: str, seed: int) -> str:
        before = out / f"{former[setting]}-seed{seed}"
        return str(before if before.exists() else out / f"{names[setting]}-seed{seed}")

    return [
        Job(setting, run.replace(seed=run.seed + number, out=place(setting, run.seed + number)))
        for number in range(seeds)
        for setting, run in runs.items()
    ]


def is_done(run: Run) -> bool:
    """Whether the run's directory holds it, finished; raises as `records_of`."""
    return records_of(run) is not None


def records_of(run: Run) -> list[Record] | None:
    """The recorded rounds of a run that is finished in its directory, None if it is not.

    Raises:
        InputError: the directory holds another run.
        Damaged: it holds this one, but not as it was written.
    """
    path = Path(str(run.out))
    if not (path / "run.json").exists():
        return None
    directory, there = RunDirectory.open(path)
    if there.digest() != run.digest():
        other, own = there.keys(), run.keys()
        differing = sorted(name for name in own if other.get(name) != own[name] and name != "out")
        what = f", with other values of {', '.join(differing[:3])}" if differing else ""
        raise InputError("out", str(path), f"holds another run{what}; choose another out")
    return directory.finished(run.rounds, partial(due, run, measurements_of(run)))


def finished(job: Job) -> list[Record] | None:
    """The recorded rounds of a run that is finished; None if it is not, or if what is there is damaged."""
    try:
        return records_of(job.run)
    except Damaged:
        return None


def carry_out(
    run: Run, listener: Listener | None = None, stop: threading.Event | None = None, joint: MultiRun | None = None
) -> None:
    """Finish a run: from its beginning, from its checkpoint, or not at all if it is done.

    Args:
        listener, stop, joint: as for `simulate`.

    Raises:
        InputError, RunError, Interrupted: as `simulate` and `resume` do; Busy, if another process is at work there for
            longer than it takes workers to end whose driver was killed.
    """
    began = time.monotonic()
    while True:
        try:
            return _carry_out(run, listener, stop, joint)
        except Busy:  # from the start, before anything was done
            if time.monotonic() - began > PATIENCE or (stop is not None and stop.is_set()):
                raise
            time.sleep(PAUSE)


def _carry_out(run: Run, listener: Listener | None, stop: threading.Event | None, joint: MultiRun | None) -> None:
    path = Path(str(run.out))
    if is_done(run):
        return
    if (path / "run.json").exists():
        resume(path, listener, stop, joint=joint)
        return
    simulate(run, listener, stop, joint)


def data_of(job: Job) -> tuple[str, dict[str, Any]]:
    """What a run's data are described by, seed included, and the checksums of those that it was trained on."""
    keys = {name: value for name, value in job.run.keys().items() if name.startswith("data.") or name == "seed"}
    trained: dict[str, Any] = RunDirectory.open(job.path)[0].fingerprint().get("data", {})
    return json.dumps(keys, sort_keys=True), trained


def default_out(runs: Mapping[str, Run], seeds: int) -> Path:
    """Where a sweep lies that is given no `out`: the same for the same settings and seeds."""
    text = json.dumps([seeds, *(run.digest() for run in runs.values())])
    return Path("runs") / f"sweep-{sha256(text.encode()).hexdigest()[:10]}"
