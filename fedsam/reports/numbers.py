"""The report's numbers: means and spreads over seeds, final values, rounds and bytes to a target.

Shapes: S seeds, R rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from fedsam.measure.names import headline_of, split_of, value_of
from fedsam.reports.read import Loaded
from fedsam.reports.settings import Setting
from fedsam.runs.records import Record

LAST = 20  # rounds
SHARES = (0.9, 0.95, 1.0)

Get = Callable[[Record], float | None]


def field(name: str) -> Get:
    """What a record has under `name`, if it is a finite number."""
    return lambda record: number(record.get(name))


def number(value: Any) -> float | None:
    """`value` as a finite float, or None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def measured(name: str) -> Get:
    """What a record has under this name behind `test`, or behind `validation`."""
    return lambda record: number(record.get(f"{split_of(record)}_{name}"))


def headline(record: Record) -> float | None:
    """The metric that the run is judged by."""
    return number(value_of(record))


def raw(record: Record) -> float | None:
    """The same of the raw model, where the one that is served is an average."""
    return number(record.get(f"raw_{split_of(record)}_{headline_of(record)}"))


def robust(record: Record) -> float | None:
    """The same under attack."""
    return number(record.get(f"robust_{headline_of(record)}"))


LOSS = measured("loss")


@dataclass(frozen=True)
class Curve:
    """A quantity over rounds: of each seed [R], and its mean and sample standard deviation over seeds.

    `mean` and `std` are over the rounds that every seed has recorded; one seed has the standard deviation 0.
    """

    seeds: dict[int, tuple[list[int], list[float]]]
    rounds: list[int]
    mean: list[float]
    std: list[float]


def curve(setting: Setting, get: Get) -> Curve | None:
    """The curve of a setting; None where no record has the quantity."""
    seeds = {seed: points for seed, run in setting.runs.items() if (points := _points(run, get))[0]}
    if not seeds:
        return None
    tables = [dict(zip(*points, strict=True)) for points in seeds.values()]
    rounds = sorted(set.intersection(*(set(table) for table in tables)))
    values = [[table[r] for table in tables] for r in rounds]
    return Curve(seeds, rounds, [fmean(v) for v in values], [spread(v) for v in values])


def _points(run: Loaded, get: Get) -> tuple[list[int], list[float]]:
    found = [(record["round"], value) for record in run.metrics if (value := get(record)) is not None]
    return [r for r, _ in found], [v for _, v in found]


def spread(values: Sequence[float]) -> float:
    """Sample standard deviation; 0 for a single value."""
    return stdev(values) if len(values) > 1 else 0.0


def final(run: Loaded, get: Get = headline) -> float | None:
    """Mean over the recorded rounds among the last 20 that have been run; None where none has the quantity."""
    late = [value for r in run.metrics if r["round"] > run.recorded - LAST and (value := get(r)) is not None]
    return fmean(late) if late else None


def finals(setting: Setting, get: Get = headline) -> dict[int, float]:
    """`final` of each seed that has it."""
    return {seed: value for seed, run in setting.runs.items() if (value := final(run, get)) is not None}


@dataclass(frozen=True)
class Difference:
    """A mean of differences over `seeds` shared seeds, ± `half` the width of its interval (None for one seed)."""

    mean: float
    half: float | None
    seeds: int


def paired(ours: dict[int, float], theirs: dict[int, float], level: float = 0.95) -> Difference | None:
    """Mean difference over the seeds that both have, with Student's interval.

        d̄ ± t_{(1 + level)/2, S - 1} s_d / √S

    Source: Student, "The probable error of a mean", Biometrika 6 (1908).
    """
    shared = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    if not shared:
        return None
    if len(shared) == 1:
        return Difference(shared[0], None, 1)
    from scipy.special import stdtrit  # the quantile of scipy.stats.t, without loading all of scipy.stats

    half = float(stdtrit(len(shared) - 1, (1 + level) / 2)) * stdev(shared) / math.sqrt(len(shared))
    return Difference(fmean(shared), half, len(shared))


@dataclass(frozen=True)
class Reached:
    """When a run first recorded a target: the round, and bytes sent up and down until then."""

    round: int
    bytes: int


def reach(run: Loaded, target: float) -> Reached | None:
    """The first recorded round that is at least as good as `target`; None = not reached."""
    total = 0
    for record in run.metrics:
        total += traffic(record)
        if not run.score.is_better(target, value_of(record)):
            return Reached(record["round"], total)
    return None


def traffic(record: Record) -> int:
    """Bytes in both directions since the record before."""
    return int((record.get("bytes_up") or 0) + (record.get("bytes_down") or 0))


def total(run: Loaded, name: str) -> float | None:
    """The sum of a quantity over a run's records; None where no record has it."""
    found = [value for record in run.metrics if (value := number(record.get(name))) is not None]
    return sum(found) if found else None
