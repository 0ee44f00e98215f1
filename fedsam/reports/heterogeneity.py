"""What heterogeneity does: metric and sharpness against the measured divergence of the clients, method by method."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from fedsam.errors import InputError
from fedsam.measure.score import Score, in_unit
from fedsam.reports.adaptation import last
from fedsam.reports.figure import Axis, Figure
from fedsam.reports.marks import DASHES, Line, Mark
from fedsam.reports.numbers import field, final, number, spread
from fedsam.reports.palette import COLOURS
from fedsam.reports.read import Loaded
from fedsam.reports.section import Section, Table, axis_of, over, significant
from fedsam.reports.settings import Setting, differing
from fedsam.reports.words import described, plain

MEASURES = {
    "js": ("js_mean", "Jensen-Shannon divergence of labels from the whole (bits)"),
    "emd": ("emd_mean", "distance of labels from the whole (EMD of Zhao et al.)"),
    "gini": ("gini", "Gini coefficient of client sizes"),
    "classes": ("classes_mean", "classes of a client"),
}
"""What metrics are drawn against: the measure of partition.json, and its axis."""

ALLOWED = f"must be one of {', '.join(MEASURES)}, or a key by which the data are divided and that is a number"

METHOD = ("name", "root", "augment", "crop_", "cutout_", "mixup_", "label_noise", "local_test")
"""How keys of the data begin that do not set clients apart: they belong to the method."""


@dataclass(frozen=True)
class Quantity:
    """What is drawn: the figure's id, what it is, more about it, the head of its column, how its values are told."""

    id: str
    what: str
    more: str
    column: str
    score: Score


def quantities(score: Score) -> dict[str, Quantity]:
    """What is drawn of runs that are judged by this metric, by the names in a point's values."""
    sharp, whole = "Largest eigenvalue of the Hessian", "of the global training loss at the end"
    worst, served = "Worst decile of the clients", "served model, on their own test data"
    after, own = "Worst decile after local training", "on their own test data"
    columns = [in_unit(words, score.mark) for words in ("worst decile", "after training")]
    return {
        score.name: Quantity("study", f"Test {score.words}", "mean of the last 20 rounds", score.label(), score),
        f"unseen_{score.name}": Quantity(
            "study-unseen",
            f"Unseen {score.words}",
            "on the groups that no client has, mean of the last 20 rounds",
            score.label("unseen"),
            score,
        ),
        "lambda_max": Quantity("study-lambda", sharp, whole, "λ₁", Score("lambda_max", "lower")),
        "worst_before": Quantity("study-worst", worst, served, columns[0], score),
        "worst_after": Quantity("study-adapted", after, own, columns[1], score),
    }


@dataclass(frozen=True)
class Point:
    """One method on one way of dividing the data.

    Args:
        method: its name.
        data: the keys by which this division differs from others, in words.
        keys: of the division.
        measures: of partition.json, the mean over seeds of each.
        values: of `quantities`, by seed; without what was not measured.
        score: how the metric is told that its runs are judged by.
    """

    method: str
    data: str
    keys: dict[str, Any]
    measures: dict[str, float]
    values: dict[str, dict[int, float]]
    score: Score

    def at(self, against: str) -> float | None:
        """Its place along the axis: a measure, or the value of a key."""
        if against in MEASURES:
            return self.measures.get(MEASURES[against][0])
        return number(self.keys.get(against))


def divides(key: str) -> bool:
    """Whether a key decides how clients differ from each other."""
    return key.startswith("data.") and not key.removeprefix("data.").startswith(METHOD)


def default_against(keys: Sequence[str]) -> str:
    """What to draw against where these keys of the division have several values: labels tell nothing of a feature
    skew, and little of sizes.
    """
    skews = [key for key in keys if key.startswith("data.skew_")]
    rest = [key for key in keys if not key.startswith("data.skew")]
    if skews and not rest:
        return skews[0]
    return "gini" if rest and set(rest) <= {"data.sigma", "data.min_size"} else "js"


def points(settings: Sequence[Setting]) -> list[Point]:
    """A point for each setting whose runs have a partition.json, in the order of the settings."""
    having = [s for s in settings if all(run.partition for run in s.runs.values())]
    methods = _names([{k: v for k, v in s.keys.items() if not divides(k)} for s in having])
    divisions = [{k: v for k, v in s.keys.items() if divides(k)} for s in having]
    shown = differing(divisions) if having else []
    found = []
    for setting, method, own in zip(having, methods, divisions, strict=True):
        runs = setting.runs
        words = ", ".join(f"{k.removeprefix('data.')} = {plain(own[k])}" for k in shown if k in own)
        values = {
            name: {s: v for s, run in runs.items() if (v := _value(run, name)) is not None}
            for name in quantities(setting.scores[0])
        }
        held = {name: by_seed for name, by_seed in values.items() if by_seed}
        found.append(Point(method, words, own, _measures(list(runs.values())), held, setting.scores[0]))
    return found


def _measures(runs: Sequence[Loaded]) -> dict[str, float]:
    each: dict[str, list[float]] = {}
    for run in runs:
        for name, value in ((run.partition or {}).get("measures") or {}).items():
            if (known := number(value)) is not None:
                each.setdefault(name, []).append(known)
    return {name: fmean(values) for name, values in each.items()}


def _value(run: Loaded, name: str) -> float | None:
    if name == run.score.name:
        return final(run)
    if name == f"unseen_{run.score.name}":
        return final(run, field(name))
    if name == "lambda_max":
        eigenvalues = (run.metrics[-1].get("geometry") or {}).get("eigenvalues") or [None]
        return number(eigenvalues[0])
    return number(last(run.metrics, name.removeprefix("worst_")).get("worst_decile"))


def _names(methods: Sequence[dict[str, Any]]) -> list[str]:
    """Each method's name: of its parts, and where these do not tell it from another, of more keys."""
    parts = [key for key in differing(methods) if key.endswith(".name")] if methods else []
    names = []
    for method in methods:
        alike = [other for other in methods if all(other.get(key) == method.get(key) for key in parts)]
        names.append(described(method, [*parts, *(key for key in differing(alike) if key not in parts)]))
    return names


def distinct(found: Sequence[Point], against: str) -> int:
    """How many places along the axis there are."""
    return len({round(at, 9) for point in found if (at := point.at(against)) is not None})


def checked(found: Sequence[Point], against: str) -> str:
    """The axis.

    Raises:
        InputError: it is neither a measure nor a key of the division that is a number.
    """
    if against not in MEASURES and all(point.at(against) is None for point in found):
        raise InputError("--against", against, ALLOWED)
    return against


def heterogeneity(settings: Sequence[Setting], against: str | None = None) -> Section | None:
    """Figures and a table, where settings differ in how their data are divided.

    Args:
        against: a name of MEASURES or a key; None = by the keys that differ.
    """
    found = points(settings)
    if len({json.dumps(s.keys.get("data.name")) for s in settings}) > 1 or len({p.data for p in found}) < 2:
        return None
    axis = checked(found, against) if against else default_against(differing([point.keys for point in found]))
    drawn = figures(found, axis)
    return Section("heterogeneity", "Heterogeneity", [*drawn, table(found)]) if drawn else None


def figures(found: Sequence[Point], against: str) -> list[Figure]:
    """One for each quantity that was measured at two places of the axis or more."""
    methods = list(dict.fromkeys(point.method for point in found))
    across = MEASURES[against][1] if against in MEASURES else against
    drawn = []
    for name, quantity in quantities(found[0].score).items() if found else ():
        having = [point for point in found if name in point.values]
        if distinct(having, against) < 2:
            continue
        marks = [
            _line(method, n, [p for p in having if p.method == method], name, against, quantity.score.share)
            for n, method in enumerate(methods)
        ]
        counts = {len(point.values[name]) for point in having}
        seeds = f"{min(counts)} seeds" if len(counts) == 1 else f"{min(counts)} to {max(counts)} seeds"
        spreads = f"mean over {seeds}, the band is ± one sample standard deviation" if max(counts) > 1 else "one seed"
        first = " What is on the axis is measured on at most the first 200 clients." if against in MEASURES else ""
        what = quantity.what
        caption = f"{what} ({quantity.more}) against {across}, a line for each method; {spreads}.{first}"
        y = axis_of(what[0].lower() + what[1:], quantity.score)
        drawn.append(Figure(quantity.id, f"{what} against heterogeneity", caption, Axis(across), y, marks))
    return drawn


def _line(method: str, place: int, own: Sequence[Point], name: str, against: str, share: bool) -> Mark:
    at = sorted((x, list(point.values[name].values())) for point in own if (x := point.at(against)) is not None)
    mean, std = [fmean(values) for _, values in at], [spread(values) for _, values in at]
    low, high = ([m + sign * s for m, s in zip(mean, std, strict=True)] for sign in (-1, 1))
    band = any(std)
    colour, dash = COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]
    if share:
        low, high = [max(0.0, v) for v in low], [min(1.0, v) for v in high]
    return Line([x for x, _ in at], mean, method, colour, low if band else None, high if band else None, dash)


COLUMNS = {"js_mean": "JS (bits)", "emd_mean": "EMD", "classes_mean": "classes", "gini": "Gini"}


def table(found: Sequence[Point]) -> Table:
    """Every point: measures, and mean ± standard deviation over seeds of what was measured."""
    held = quantities(found[0].score)
    numbers = [name for name in held if any(name in point.values for point in found)]
    rows = []
    for point in found:
        measures = (significant(point.measures.get(name), 3) for name in COLUMNS)
        rows.append([point.method, point.data, *measures, *(stated(point, name) for name in numbers)])
    words = (
        "Each method on each division of the data: mean Jensen-Shannon divergence and EMD (Zhao et al. 2018: the sum of"
        " absolute differences) of the clients' labels from the whole, mean number of classes of a client, Gini"
        " coefficient of sizes; then what was measured, mean ± standard deviation over seeds."
    )
    return Table(words, ["method", "data", *COLUMNS.values(), *(held[name].column for name in numbers)], rows, 2)


def stated(point: Point, name: str) -> str:
    """Mean ± standard deviation over seeds of what was measured at a point; a dash for nothing."""
    return over(list(point.values.get(name, {}).values()), quantities(point.score)[name].score)
