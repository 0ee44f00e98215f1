"""What heterogeneity does to each method: a sweep over how the data are divided, drawn against what was measured of it.

The sweep is `fedsam sweep`'s, in the same directory if it has the same settings; the points and their figure are those
of the report, whose page gets them as a section.
"""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from fedsam.config import find, owned_keys
from fedsam.data.base import Dataset
from fedsam.errors import InputError, RunError, under
from fedsam.reports.heterogeneity import (
    ALLOWED,
    MEASURES,
    Point,
    checked,
    default_against,
    distinct,
    divides,
    figures,
    heterogeneity,
    points,
    quantities,
    stated,
)
from fedsam.reports.numbers import number, spread
from fedsam.reports.read import gather
from fedsam.reports.section import significant
from fedsam.reports.settings import differing, group
from fedsam.reports.write import MAKERS, write_report
from fedsam.run import Run
from fedsam.runs.progress import Progress
from fedsam.runs.shown import Shown
from fedsam.storage.files import on_disk, replace_file
from fedsam.storage.text import encoded
from fedsam.sweeps import grid
from fedsam.sweeps.compare import compare
from fedsam.sweeps.sweep import default_out

if TYPE_CHECKING:
    from fedsam.reports.sheet import Sheet

DEFAULTS: dict[str, Any] = {"client.name": "sgd,sam,asam", "evaluate_every": "5", "engine.threads": "1"}
ALPHAS = "0.05,0.2,1,10,100"
"""Dirichlet concentrations, unless other keys of the data have several values."""


def settings(given: Mapping[str, Any], hessian: bool = False) -> dict[str, Run]:
    """The runs of a study: every combination of the keys' values, by name.

    Args:
        given: keys, which go before the defaults.
        hessian: measure the Hessian after the last round.

    Raises:
        InputError: the keys cannot be, or none of those that decide how clients differ has several values.
    """
    keys = {**DEFAULTS, **given}
    varied = [name for name, value in keys.items() if divides(name) and len(grid.values(value, name)) > 1]
    if not varied and "data.alpha" not in given and _has_alpha(keys):
        keys, varied = {**keys, "data.alpha": ALPHAS}, ["data.alpha"]
    runs = grid.settings(keys)
    if not varied:
        allowed = "nothing differs: give a key of the data several values, as in data.alpha=0.1,1,100"
        raise InputError("", InputError.ABSENT, allowed)
    if hessian:
        runs = {name: run.replace(geometry=run.geometry.replace(every=run.rounds)) for name, run in runs.items()}
    return runs


def _has_alpha(keys: Mapping[str, Any]) -> bool:
    own = {name.removeprefix("data."): value for name, value in keys.items() if name.startswith("data.")}
    with under("data"):
        chosen = find(Dataset, str(own.pop("name", Run.model_fields["data"].default)))
        return "alpha" in owned_keys(chosen, own)


HEADS = {"lambda_max": "λ₁", "worst_before": "worst decile", "worst_after": "trained"}
AXES = {"js": "JS (bits)", "emd": "EMD", "classes": "classes", "gini": "Gini"}


@dataclass(frozen=True, repr=False)
class Found(Shown):
    """What a study has found.

    Args:
        points: each method on each division.
        against: what they are drawn against.
        out: where runs, tables, figures and page are.
    """

    points: list[Point]
    against: str
    out: Path

    def rows(self) -> list[dict[str, Any]]:
        """One row a point, as plain JSON types: method, data, the measures, and of what was measured the mean, the
        sample standard deviation over seeds (0 for one) and each seed's value.
        """
        rows = []
        for point in self.points:
            row: dict[str, Any] = {"method": point.method, "data": point.data, **point.measures}
            for name, by_seed in point.values.items():
                values = list(by_seed.values())
                row |= {f"{name}_mean": fmean(values), f"{name}_std": spread(values), f"{name}_seeds": by_seed}
            rows.append(row)
        return rows

    def headline(self) -> str:
        """What the numbers are."""
        unit = "shares in %: " if self.points[0].score.share else ""
        return f"{unit}mean ± standard deviation over seeds"

    def table(self) -> tuple[Sequence[str], list[Sequence[str]]]:
        """A line for each method on each division."""
        score = self.points[0].score
        numbers = [name for name in quantities(score) if any(name in point.values for point in self.points)]
        named = {score.name: score.words, f"unseen_{score.name}": f"unseen {score.words}", **HEADS}
        heads = ("method", "data", AXES.get(self.against, self.against), *(named[name] for name in numbers))
        return heads, [
            (
                *(point.method, point.data, significant(point.at(self.against), 3)),
                *(stated(point, name) for name in numbers),
            )
            for point in self.points
        ]

    def plot(self) -> Sheet:
        """The headline metric against the measured divergence, a line for each method.

        Raises:
            InputError: all divisions lie at one place of the axis.
        """
        if drawn := figures(self.points, self.against):
            return drawn[0].sheet()
        raise InputError("against", self.against, "is the same in all divisions, so there is nothing to draw")


def study(
    runs: Mapping[str, Run],
    seeds: int,
    progress: Progress,
    stop: threading.Event | None = None,
    *,
    out: Path | None = None,
    workers: int | None = None,
    address: str | None = None,
    against: str | None = None,
) -> Found:
    """Carry the runs out, and write study.csv, study.json, the figures as PNG, SVG and PDF, and the report.

    Args:
        runs: by name, of `settings`.
        seeds, progress, stop, workers, address: as for `compare`.
        out: the directory; None = the one that a sweep of the same runs has.
        against: a measure or a key of the data; None = by the keys that differ.

    Raises:
        InputError: there is nothing of the name `against`.
        RunError: runs failed; what the others gave is written.
    """
    if against is not None and against not in MEASURES and not any(_numeric(run, against) for run in runs.values()):
        raise InputError("--against", against, ALLOWED)
    place = out or default_out(runs, seeds)
    try:
        compare(runs, seeds, progress, stop, out=place, workers=workers, address=address)
    except RunError:
        if (place / "compare.json").exists():
            _written(place, against)
        raise
    return _written(place, against)


def _numeric(run: Run, name: str) -> bool:
    return divides(name) and number(run.keys().get(name)) is not None


def _written(out: Path, against: str | None) -> Found:
    found = points(group(gather([out])[0])[0])
    axis = checked(found, against or default_against(differing([point.keys for point in found])))
    result = Found(found, axis, out)
    with on_disk(out / "study.json"):
        replace_file(out / "study.json", (json.dumps(result.rows(), indent=2) + "\n").encode())
        replace_file(out / "study.csv", encoded(as_csv(found)))
        for figure in figures(found, axis):
            figure.save(out)
    if against is not None:
        makers = [partial(heterogeneity, against=axis) if make is heterogeneity else make for make in MAKERS]
        write_report([out], out / "report.html", makers=makers)
    return result


def as_csv(found: Sequence[Point]) -> str:
    """One line a point, all digits: measures, then mean and sample standard deviation over seeds of each quantity."""
    measures = list(dict.fromkeys(name for point in found for name in point.measures))
    score = found[0].score
    numbers = [name for name in quantities(score) if any(name in point.values for point in found)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{name}_{part}" for name in numbers for part in ("mean", "std")]
    writer.writerow(["method", "data", *measures, "seeds", *columns])
    for point in found:
        each = [list(point.values.get(name, {}).values()) for name in numbers]
        stated = [part for values in each for part in ((fmean(values), spread(values)) if values else ("", ""))]
        seeds = len(point.values.get(score.name, {}))
        writer.writerow([point.method, point.data, *(point.measures.get(m, "") for m in measures), seeds, *stated])
    return text.getvalue()


def show(found: Found) -> None:
    """The table, for a person, and where the figures are."""
    from rich.console import Console
    from rich.table import Table

    heads, cells = found.table()
    table = Table(title=found.headline(), title_justify="left")
    for head in heads:
        table.add_column(head, justify="left" if head in ("method", "data") else "right", overflow="fold")
    for line in cells:
        table.add_row(*line)
    console = Console()
    console.print(table, highlight=False)
    if distinct(found.points, found.against) < 2:
        console.print(f"no figure: all divisions have the same {found.against}; see --against", highlight=False)
    for label, name in (("figures", "study*.png"), ("table", "study.csv"), ("report", "report.html")):
        console.print(f"{label}: {found.out / name}", highlight=False, soft_wrap=True)
