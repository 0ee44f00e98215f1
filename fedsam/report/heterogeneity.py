"""What heterogeneity does: accuracy and sharpness against the measured divergence of the clients, method by method."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from fedsam.errors import InputError
from fedsam.report.adaptation import last
from fedsam.report.figure import Axis, Figure
from fedsam.report.marks import DASHES, Line, Mark
from fedsam.report.numbers import final, number, spread
from fedsam.report.palette import COLOURS
from fedsam.report.read import Loaded
from fedsam.report.section import Section, Table, plus_minus, significant
from fedsam.report.settings import Setting, described, differing, plain

MEASURES = {
    "js": ("js_mean", "Jensen-Shannon divergence of labels from the whole (bits)"),
    "emd": ("emd_mean", "distance of labels from the whole (EMD of Zhao et al.)"),
    "gini": ("gini", "Gini coefficient of client sizes"),
    "classes": ("classes_mean", "classes of a client"),
}
"""What accuracy is drawn against: the measure of partition.json, and its axis."""

ALLOWED = f"must be one of {', '.join(MEASURES)}, or a key by which the data are divided and that is a number"

METHOD = ("name", "root", "augment", "crop_", "cutout_", "mixup_", "label_noise", "local_test")
"""How keys of the data begin that do not set clients apart: they belong to the method."""

VALUES = {
    "accuracy": ("study", "Test accuracy", "mean of the last 20 rounds", True),
    "lambda_max": (
        "study-lambda",
        "Largest eigenvalue of the Hessian",
        "of the global training loss at the end",
        False,
    ),
    "worst_before": ("study-worst", "Worst decile of the clients", "served model, on their own test data", True),
    "worst_after": ("study-adapted", "Worst decile after local training", "on their own test data", True),
}
"""What is drawn: the figure's id, what it is, more about it, and whether it is a share."""


@dataclass(frozen=True)
class Point:
    """One method on one way of dividing the data.

    Args:
        method: its name.
        data: the keys by which this division differs from others, in words.
        keys: of the division.
        measures: of partition.json, the mean over seeds of each.
        values: of VALUES, by seed; without what was not measured.
    """

    method: str
    data: str
    keys: dict[str, Any]
    measures: dict[str, float]
    values: dict[str, dict[int, float]]

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
        values = {name: {s: v for s, run in runs.items() if (v := _value(run, name)) is not None} for name in VALUES}
        found.append(Point(method, words, own, _measures(list(runs.values())), {n: v for n, v in values.items() if v}))
    return found


def _measures(runs: Sequence[Loaded]) -> dict[str, float]:
    each: dict[str, list[float]] = {}
    for run in runs:
        for name, value in ((run.partition or {}).get("measures") or {}).items():
            if (known := number(value)) is not None:
                each.setdefault(name, []).append(known)
    return {name: fmean(values) for name, values in each.items()}


def _value(run: Loaded, name: str) -> float | None:
    if name == "accuracy":
        return final(run)
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
    for name, (id, what, more, share) in VALUES.items():
        having = [point for point in found if name in point.values]
        if distinct(having, against) < 2:
            continue
        marks = [
            _line(method, n, [p for p in having if p.method == method], name, against, share)
            for n, method in enumerate(methods)
        ]
        counts = {len(point.values[name]) for point in having}
        seeds = f"{min(counts)} seeds" if len(counts) == 1 else f"{min(counts)} to {max(counts)} seeds"
        spreads = f"mean over {seeds}, the band is ± one sample standard deviation" if max(counts) > 1 else "one seed"
        first = " What is on the axis is measured on at most the first 200 clients." if against in MEASURES else ""
        caption = f"{what} ({more}) against {across}, a line for each method; {spreads}.{first}"
        y = Axis(what[0].lower() + what[1:], percent=share)
        drawn.append(Figure(id, f"{what} against heterogeneity", caption, Axis(across), y, marks))
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
NUMBERS = {
    "accuracy": "accuracy (%)",
    "lambda_max": "λ₁",
    "worst_before": "worst decile (%)",
    "worst_after": "after training (%)",
}


def table(found: Sequence[Point]) -> Table:
    """Every point: measures, and mean ± standard deviation over seeds of what was measured."""
    numbers = [name for name in VALUES if any(name in point.values for point in found)]
    rows = []
    for point in found:
        measures = (significant(point.measures.get(name), 3) for name in COLUMNS)
        rows.append([point.method, point.data, *measures, *(stated(point, name) for name in numbers)])
    words = (
        "Each method on each division of the data: mean Jensen-Shannon divergence and EMD (Zhao et al. 2018: the sum of"
        " absolute differences) of the clients' labels from the whole, mean number of classes of a client, Gini"
        " coefficient of sizes; then what was measured, mean ± standard deviation over seeds."
    )
    return Table(words, ["method", "data", *COLUMNS.values(), *(NUMBERS[name] for name in numbers)], rows, 2)


def stated(point: Point, name: str) -> str:
    """Mean ± standard deviation over seeds of what was measured at a point; a dash for nothing."""
    values = list(point.values.get(name, {}).values())
    if not values:
        return "–"
    return plus_minus(fmean(values), spread(values), len(values) > 1, 100.0 if VALUES[name][3] else 1.0)
