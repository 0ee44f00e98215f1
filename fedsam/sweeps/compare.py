"""Runs side by side: the same seeds, so the same partitions and client draws, for every setting."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsam.errors import Damaged, FedsamError, InputError, Interrupted, RunError
from fedsam.measure.names import further_of, split_of, value_of
from fedsam.measure.score import Score
from fedsam.reports.curves import curves
from fedsam.reports.words import readable
from fedsam.run import Run
from fedsam.runs.directory import fresh
from fedsam.runs.progress import Progress
from fedsam.runs.records import Record
from fedsam.runs.shown import Shown
from fedsam.storage.files import on_disk, replace_file
from fedsam.storage.lock import locked
from fedsam.sweeps import tables
from fedsam.sweeps.batched import MOST, carry_out_together, groups
from fedsam.sweeps.sweep import Job, data_of, finished, is_done, plan

if TYPE_CHECKING:
    from fedsam.reports.sheet import Sheet

LAST = 20  # rounds


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Finished runs: for each setting the recorded rounds of each seed.

    Args:
        runs: the settings, each with its first seed.
        metrics: by setting, then by seed.
        out: where the runs, table and figure are.
        last: the final value of a run is the mean over its recorded rounds among this many last ones.
    """

    runs: dict[str, Run]
    metrics: dict[str, dict[int, list[Record]]]
    out: Path
    last: int = LAST

    @property
    def score(self) -> Score:
        """How the metric is told that the runs are judged by."""
        return next(iter(self.runs.values())).learnt.score

    def rows(self) -> list[dict[str, Any]]:
        """One row a setting, as plain JSON types; `std` is the sample standard deviation over seeds (0 for one).

        `difference` is the mean over seeds of the value less that of the first setting with the same data, or of the
        first of all where each has its own, with the same seed. `interval` is how far its 95 % confidence interval
        reaches to either side: t_{0.975, n−1} s / √n with s the standard deviation of the n differences; none for one
        seed, as for such a first setting itself.
        """
        rows: list[dict[str, Any]] = []
        data = {setting: json.dumps(run.data.keys(), sort_keys=True, default=str) for setting, run in self.runs.items()}
        alone = len(set(data.values())) == len(data)  # nothing but the data differs, so one of them is the first
        firsts: dict[str, dict[int, float]] = {}
        for setting, by_seed in self.metrics.items():
            rounds = self.runs[setting].rounds
            final = {
                seed: float(np.mean([value_of(r) for r in records if r["round"] > rounds - self.last]))
                for seed, records in by_seed.items()
            }
            values = list(final.values())
            seconds = [sum(r["seconds"] for r in records) / rounds for records in by_seed.values()]
            rows.append(
                {
                    "setting": setting,
                    "seeds": list(by_seed),
                    f"{self.split}_{self.score.name}": values,
                    "mean": float(np.mean(values)),
                    "std": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
                    "seconds_per_round": float(np.mean(seconds)),
                }
            )
            if more := _further(by_seed, rounds - self.last, self.score.name):
                rows[-1]["further"] = more
            first = firsts.setdefault("" if alone else data[setting], final)
            rows[-1] |= _paired(final, first) if first is not final else {}
        return rows

    def headline(self) -> str:
        """What the values are."""
        seeds = len(next(iter(self.metrics.values())))
        return f"{self.split} {self.score.words}, mean of the last {self.last} rounds, {seeds} seed{'s' * (seeds > 1)}"

    def table(self) -> tuple[Sequence[str], list[Sequence[str]]]:
        """A line for each setting."""
        score, rows = self.score, self.rows()
        more = tables.further(rows)
        heads = ("setting", "mean", "std", "less the first", *more, "seconds per round")
        return heads, [
            (
                readable(row["setting"]),
                *(score.text(row["mean"]), score.text(row["std"]) if len(row["seeds"]) > 1 else ""),
                tables.less(row, score),
                *(tables.of_further(row, split, score) for split in more),
                f"{row['seconds_per_round']:.4f}",
            )
            for row in rows
        ]

    def plot(self) -> Sheet:
        """The headline metric against rounds, a line and a band for each setting."""
        first = next(iter(self.runs.values()))
        clients = first.data.fixed_clients
        who = f"{clients} clients" if clients else "a client for each group"
        about = f"{first.data.name}, {who}, {first.cohort} per round"
        return curves(self.metrics, self.score, about)

    @property
    def split(self) -> str:
        """The examples that the runs were measured on."""
        return split_of(next(iter(next(iter(self.metrics.values())).values()))[-1])


def _further(by_seed: Mapping[int, list[Record]], after: int, headline: str) -> dict[str, dict[str, Any]]:
    """The same of each further test split that every record has, such as `unseen`: values by seed, mean, `std`."""
    found = {}
    every = [record for records in by_seed.values() for record in records]
    for split in further_of(every[-1]):
        name = f"{split}_{headline}"
        if all(name in record for record in every):
            values = [float(np.mean([r[name] for r in records if r["round"] > after])) for records in by_seed.values()]
            std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            found[split] = {"values": values, "mean": float(np.mean(values)), "std": std}
    return found


def _paired(final: dict[int, float], first: dict[int, float]) -> dict[str, float | None]:
    difference = np.array([final[seed] - first[seed] for seed in final if seed in first])
    number = len(difference)
    if number < 2:
        return {"difference": float(difference[0]) if number else None, "interval": None}
    from scipy.special import stdtrit

    reach = stdtrit(number - 1, 0.975) * difference.std(ddof=1) / np.sqrt(number)
    return {"difference": float(difference.mean()), "interval": float(reach)}


def compare(
    runs: Mapping[str, Run],
    seeds: int,
    progress: Progress,
    stop: threading.Event | None = None,
    *,
    out: Path | None = None,
    workers: int | None = None,
    address: str | None = None,
    apart: bool = False,
) -> Comparison:
    """Run every setting with `seeds` seeds, and write runs, tables, learning curves and report to one directory.

    Runs that are finished there are not repeated, and those that were begun are continued. A run that fails does not
    stop the others, nor does one that is damaged. One process at a time is at work in the directory.

    Args:
        runs: the settings by name.
        seeds: how many, from each run's own `seed` on.
        progress: is told how far it is.
        stop: once set, the run in progress is stopped and `Interrupted` raised.
        out: the directory; None = the runs' own `out`, or where they have none a new one under runs/.
        workers: runs at a time, as Ray tasks, 0 = as many as there are cores or GPUs; None = one after the other, in
            this process.
        address: of a Ray cluster to join, for as many runs at a time as it takes where `workers` does not say.
        apart: train every run by itself, also where several could be trained as one (see `fedsam.sweeps.batched`).

    Raises:
        InputError: the runs are not judged by the same metric.
        Busy: another process is at work in the directory.
        RunError: a run failed, or all did; what the others gave is written.
    """
    first = next(iter(runs.values()))
    for run in runs.values():
        if run.learnt.score != first.learnt.score:
            names = f"{run.learnt.score.words}, another run by {first.learnt.score.words}"
            raise InputError("task.name", run.learnt.name, f"is judged by {names}; compare them apart")
    named = out or (Path(first.out) if first.out else None)
    place = nullcontext(named) if named else fresh(Path("runs"), f"compare-{first.data.name}")
    with place as home, locked(home):
        jobs = plan(runs, seeds, home)
        failures = train(jobs, progress, stop, workers, address, apart)
        metrics = _gathered(jobs, failures)
        comparison = Comparison({setting: runs[setting] for setting in metrics}, metrics, home)
        if metrics:
            _write(comparison)
    if failures:
        few = "; ".join(failures[:3]) + (f"; and {len(failures) - 3} more" if len(failures) > 3 else "")
        raise RunError(f"{len(failures)} of {len(jobs)} runs failed: {few}; what the others gave is in {home}")
    return comparison


def _gathered(jobs: list[Job], failures: list[str]) -> dict[str, dict[int, list[Record]]]:
    """The records of the runs that are finished, by setting, then by seed; none is left out without a failure."""
    metrics: dict[str, dict[int, list[Record]]] = {}
    trained: dict[str, tuple[Job, dict[str, Any]]] = {}
    for job in jobs:
        records, named = finished(job), any(failure.startswith(f"{job.label}: ") for failure in failures)
        if records is None:
            if not named:
                failures.append(f"{job.label}: it did not come to its end; give the same command again")
            continue
        data, sums = data_of(job)
        other, others = trained.setdefault(data, (job, sums))
        if sums and others and sums != others:
            cure = f"one of them has to be trained anew: move {job.path} or {other.path} away"
            failures.append(f"{job.label}: the data changed between {other.label} and this run; {cure}")
            continue
        metrics.setdefault(job.setting, {})[job.run.seed] = records
    return metrics


def train(
    jobs: list[Job],
    progress: Progress,
    stop: threading.Event | None = None,
    workers: int | None = None,
    address: str | None = None,
    apart: bool = False,
    go_on: bool = False,
) -> list[str]:
    """Finish those of the runs that are not finished, and say what went wrong with which of them; see `compare`.

    A run whose directory is damaged has failed.

    Args:
        go_on: an `InputError` of a run, such as that its data are not there, is a failure of this run alone, as it is
            with workers; otherwise it is raised.
    """
    missing: list[Job] = []
    failures: list[str] = []
    for job in jobs:
        try:
            missing += [] if is_done(job.run) else [job]
        except Damaged as error:
            failures.append(f"{job.label}: {error}")
    progress.plan(sum(job.run.rounds for job in missing))
    workers = 0 if workers is None and address else workers
    if workers is None:
        _in_turn(missing, _split(missing, apart), progress, stop, failures, go_on)
    elif missing:
        _side_by_side(missing, _split(missing, apart, workers), progress, stop, failures, workers, address)
    return failures


def _split(jobs: list[Job], apart: bool, workers: int | None = None) -> list[list[int]]:
    """The places of jobs that are trained as one; with workers in so many parts at least, as far as there are jobs."""
    at_once = 1 if workers is None else workers or os.cpu_count() or 1
    return groups([job.run for job in jobs], 1 if apart else max(1, min(MOST, -(-len(jobs) // at_once))))


def _label(jobs: list[Job], places: list[int]) -> str:
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{jobs[places[0]].label}{more}"


def _in_turn(
    jobs: list[Job],
    parts: list[list[int]],
    progress: Progress,
    stop: threading.Event | None,
    failures: list[str],
    go_on: bool,
) -> None:
    offset = 0
    for places in parts:
        label = _label(jobs, places)
        progress.next(label, offset)

        def ended(place: int, error: FedsamError | None, places: list[int] = places) -> None:
            if isinstance(error, RunError | Damaged) or (go_on and error is not None):
                failures.append(f"{jobs[places[place]].label}: {error}")
            elif error is not None:
                raise error

        try:
            carry_out_together([jobs[place].run for place in places], ended, progress, stop)
        except Interrupted as error:
            where = jobs[places[0]].path.parent
            raise Interrupted(f"{label}: {error}; the runs finished before it are in {where}") from None
        offset += sum(jobs[place].run.rounds for place in places)


def _side_by_side(
    jobs: list[Job],
    parts: list[list[int]],
    progress: Progress,
    stop: threading.Event | None,
    failures: list[str],
    workers: int,
    address: str | None,
) -> None:
    from fedsam.tuning.parallel import side_by_side

    finished = 0

    def ended(place: int, failed: list[str | None]) -> None:
        nonlocal finished
        for job, what in zip([jobs[place] for place in parts[place]], failed, strict=True):
            finished += job.run.rounds
            progress.ended(f"{job.label}: {what or 'done'}", finished)
            if what:
                failures.append(f"{job.label}: {what}")

    side_by_side([[jobs[place].run for place in places] for places in parts], workers, address, ended, stop)


def _write(comparison: Comparison) -> None:
    from fedsam.reports.write import write_report

    out, rows = comparison.out, comparison.rows()
    with on_disk(out / "compare.json"):
        replace_file(out / "compare.json", (json.dumps(rows, indent=2) + "\n").encode())
    tables.write(rows, out, comparison.score, comparison.last)
    with on_disk(out / "curves.png"):
        comparison.plot().write(out, "curves")
    write_report([out], out / "report.html")


def show(comparison: Comparison) -> None:
    """The table, for a person, and where the figure is."""
    from rich.console import Console
    from rich.table import Table

    rows, score = comparison.rows(), comparison.score
    heads, cells = comparison.table()
    table = Table(title=comparison.headline(), title_justify="left")
    for head in heads:
        table.add_column(head, justify="left" if head == "setting" else "right", overflow="fold")
    for line in cells:
        table.add_row(*line)
    console = Console()
    console.print(table, highlight=False)
    if (crossed := tables.crossed(rows, score)) is not None:
        (corner, *columns), lines = crossed
        pivot = Table(title="the same, methods by data", title_justify="left")
        pivot.add_column(corner, overflow="fold")
        for column in columns:
            pivot.add_column(column, justify="right", overflow="fold")
        for line in lines:
            pivot.add_row(*line)
        console.print(pivot, highlight=False)
    if any(row.get("interval") is not None for row in rows):
        console.print(f"less the first{tables.of_same_data(rows)}: {tables.PAIRED.format(tables.in_points(score))}")
    for label, name in (("learning curves", "curves.*"), ("tables", "table.*"), ("report", "report.html")):
        console.print(f"{label}: {comparison.out / name}", highlight=False, soft_wrap=True)
