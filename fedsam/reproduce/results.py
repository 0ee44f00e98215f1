"""What finished runs hold, by run name and seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsam.errors import RunError
from fedsam.run import Run
from fedsam.runs.records import Record
from fedsam.storage.files import on_disk, replace_file
from fedsam.sweeps.sweep import Job, finished

if TYPE_CHECKING:
    from fedsam.flatness.loaded_run import LoadedRun
    from fedsam.reproduce.measurements import Measure

KEPT = "measured.json"
"""In a run directory, what was measured there."""


class MissingRun(Exception):
    """A run that is asked for is not there; its name is the message."""

    def __str__(self) -> str:
        return f"there is no run {self.args[0]}"


class Results:
    """Finished runs.

    Args:
        jobs: the runs with their seeds and directories; those that are not finished count as missing.
        seeds: in order.
        tell: is called with a line before each measurement that is made.
    """

    def __init__(
        self, jobs: Sequence[Job], seeds: Sequence[int], tell: Callable[[str], None] = lambda line: None
    ) -> None:
        found = {(job.setting, job.run.seed): (job, finished(job)) for job in jobs}
        self.jobs = {at: job for at, (job, records) in found.items() if records is not None}
        self.seeds, self._tell = list(seeds), tell
        self._records = {at: records for at, (_, records) in found.items() if records is not None}
        self._site = lru_cache(maxsize=2)(self._open)

    def job(self, name: str, seed: int) -> Job:
        """A finished run.

        Raises:
            MissingRun: it is not there.
        """
        try:
            return self.jobs[name, seed]
        except KeyError:
            raise MissingRun(name) from None

    def run(self, name: str, seed: int) -> Run:
        """The description of a finished run."""
        return self.job(name, seed).run

    def records(self, name: str, seed: int) -> list[Record]:
        """The recorded rounds of a run."""
        self.job(name, seed)
        return self._records[name, seed]

    def last(self, name: str, seed: int, field: str) -> float:
        """A number of the last record: `test_loss`, `test_accuracy`, `robust_accuracy`, ..."""
        return _number(self.records(name, seed)[-1], field)

    def mean(self, name: str, seed: int, field: str, rounds: int) -> float:
        """The mean of a number over the records of so many last rounds."""
        begin = self.run(name, seed).rounds - rounds
        return float(
            np.mean([_number(record, field) for record in self.records(name, seed) if record["round"] > begin])
        )

    def curve(self, name: str, field: str) -> tuple[list[float], list[list[float]]]:
        """Rounds, and a number in each of them: a row per seed."""
        rows = [[_number(record, field) for record in self.records(name, seed)] for seed in self.seeds]
        return [float(record["round"]) for record in self.records(name, self.seeds[0])], rows

    def each(self, value: Callable[[int], float]) -> list[float]:
        """A number of each seed."""
        return [value(seed) for seed in self.seeds]

    def measure(self, name: str, seed: int, measure: Measure) -> Any:
        """What a measurement on the run's served model gives, as plain JSON types; made once, then read."""
        job = self.job(name, seed)
        file = job.path / KEPT
        kept = _read(file, job.run)
        digests = [self.run(other, seed).digest()[:12] for other in measure.others]
        key = " ".join([repr(measure), *digests])
        if key not in kept:
            self._tell(f"{job.label}: {measure!r}")
            kept[key] = measure.of(self.loaded(name, seed), [self.loaded(other, seed) for other in measure.others])
            content = {"digest": job.run.digest(), "measured": kept}
            with on_disk(file):
                replace_file(file, (json.dumps(content) + "\n").encode())
        return kept[key]

    def loaded(self, name: str, seed: int) -> LoadedRun:
        """The run's model and data, to be measured."""
        return self._site(self.job(name, seed).path)

    @staticmethod
    def _open(path: Path) -> LoadedRun:
        from fedsam.flatness.loaded_run import LoadedRun

        return LoadedRun(path)


def _read(file: Path, run: Run) -> dict[str, Any]:
    """What is kept of this very run; what cannot be read is measured anew."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        kept: Mapping[str, Any] = found["measured"]
        return dict(kept) if found["digest"] == run.digest() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _number(record: Record, field: str) -> float:
    if record[field] is None:
        raise RunError(f"{field} was not measured in round {record['round']}: {record.get(f'{field}_error')}")
    return float(record[field])
