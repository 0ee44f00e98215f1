"""The metrics beside the one that the runs are judged by, at the end: numbers, and lists and tables of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from fedsam.measure.names import split_of
from fedsam.measure.score import Score
from fedsam.reports.figure import Axis, Figure
from fedsam.reports.marks import Bars, Map
from fedsam.reports.numbers import number
from fedsam.reports.section import Block, Section, Table, axis_of, identity, over, split_shown
from fedsam.reports.settings import Setting

SHOWN = 8  # settings whose lists and tables are drawn
COUNTS = "examples"  # a table in this unit is drawn as shares of its rows
AXES = {"per_class_accuracy": ("class",), "confusion_matrix": ("predicted class", "class")}
"""What is along a list or a table, across and up; of another it is not known."""


def metrics_section(settings: Sequence[Setting]) -> Section | None:
    """A table of the numbers, a figure for each setting of what is a list or a table."""
    scores = {score.name: score for setting in settings for score in setting.scores[1:] if score.name != "loss"}
    blocks: list[Block] = []
    table = _numbers(settings, list(scores.values()))
    blocks += [table] if table else []
    for score in scores.values():
        for draw, held in ((_bars, _row), (_map, _rows)):
            having = [(setting, mean) for setting in settings if (mean := _mean(setting, score, held))]
            for place, (setting, mean) in enumerate(having[:SHOWN], 1):
                alone = len(settings) == 1
                blocks.append(draw(score, mean, "" if alone else f"-{place}", "" if alone else f": {setting.name}"))
    return Section("metrics", "Metrics at the end", blocks) if blocks else None


def _last(setting: Setting, score: Score) -> list[Any]:
    """What the last record of each seed has."""
    lasts = [run.metrics[-1] for run in setting.runs.values()]
    return [record.get(f"{split_of(record)}_{score.name}") for record in lasts]


def _numbers(settings: Sequence[Setting], scores: Sequence[Score]) -> Table | None:
    found = {score: [[v for v in map(number, _last(s, score)) if v is not None] for s in settings] for score in scores}
    found = {score: values for score, values in found.items() if any(values)}
    if not found:
        return None
    rows = [
        [setting.name, *(over(values[place], score) for score, values in found.items())]
        for place, setting in enumerate(settings)
    ]
    several = any(len(setting.runs) > 1 for setting in settings)
    spread = "; after ±, the sample standard deviation over seeds" if several else ""
    caption = f"Metrics of the served model on the {split_shown(settings)} examples, at the last record{spread}."
    return Table(caption, ["setting", *(score.label() for score in found)], rows)


def _row(value: Any) -> list[float | None] | None:
    """A list of numbers, with gaps, as it is; None for anything else."""
    if not isinstance(value, list) or any(isinstance(one, list | dict | str) for one in value):
        return None
    return [number(one) for one in value] or None


def _rows(value: Any) -> list[list[float | None]] | None:
    """A table of numbers, likewise."""
    if not isinstance(value, list) or not value or any(_row(one) is None for one in value):
        return None
    return [[number(one) for one in row] for row in value] if len({len(row) for row in value}) == 1 else None


def _mean(setting: Setting, score: Score, held: Any) -> Any:
    """The mean over the seeds that have it, place by place; None where none has."""
    having = [known for value in _last(setting, score) if (known := held(value))]
    return _over(having) if having else None


def _over(each: Sequence[Any]) -> Any:
    if all(isinstance(one, list) for one in each):
        return [_over(places) for places in zip(*each, strict=False)]
    known = [value for value in each if isinstance(value, float)]
    return fmean(known) if known else None


def _bars(score: Score, mean: Sequence[float | None], suffix: str, whose: str) -> Figure:
    places = [place for place, value in enumerate(mean) if value is not None]
    bars = Bars(places, [value for value in mean if value is not None], score.words, "#0072B2")
    (along,) = AXES.get(score.name, ("place",))
    return Figure(
        f"{identity(score.name)}{suffix}",
        f"{score.title}{whose}",
        f"{score.title} of the served model at the last record; mean over seeds.",
        Axis(along, whole=True),
        axis_of(score.words, score),
        [bars],
    )


def _map(score: Score, mean: Sequence[Sequence[float | None]], suffix: str, whose: str) -> Figure:
    shares = score.share or score.unit == COUNTS
    if score.unit == COUNTS:
        sums = [sum(value or 0.0 for value in row) for row in mean]
        mean = [[(value or 0.0) / (whole or 1.0) for value in row] for row, whole in zip(mean, sums, strict=True)]
    across, up = AXES.get(score.name, ("column", "row"))
    unit = f"share of the {up}'s {COUNTS}" if score.unit == COUNTS else score.words
    cells = Map(
        list(range(len(mean[0]))), list(range(len(mean))), mean, unit, root=shares, most=1.0 if shares else None,
        percent=shares,
    )  # fmt: skip
    rows = f" Shares of each {up}'s {COUNTS}." if score.unit == COUNTS else ""
    return Figure(
        f"{identity(score.name)}{suffix}",
        f"{score.title}{whose}",
        f"{score.title} of the served model at the last record; mean over seeds.{rows}",
        Axis(across, whole=True),
        Axis(up, whole=True),
        [cells],
        square=True,
        tall=460,
    )
