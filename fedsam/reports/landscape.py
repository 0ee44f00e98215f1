"""The loss around the final model: perturbed, along a line, on a plane, as a surface."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from fedsam.measure.score import Score, in_unit
from fedsam.reports.curvature import colour_of, measured
from fedsam.reports.figure import Axis, Figure
from fedsam.reports.marks import DASHES, Line, Map, Mark, Points
from fedsam.reports.numbers import number
from fedsam.reports.section import Block, Section, Table, identity, in_words, loss_of, score_axis, score_of, significant
from fedsam.reports.settings import Setting

SOLID = 8  # surfaces that can be turned; a browser has a limited number of drawing contexts
STEEP = 30.0  # a loss that spans this factor is drawn by its logarithm

Runs = Sequence[tuple[str, Setting, dict[str, Any]]]
Told = tuple[Score, Score]
"""How the headline metric and the loss are told."""


def landscape(settings: Sequence[Setting]) -> Section | None:
    """Everything of geometry.json that looks around the final model."""
    runs = measured(settings)
    told = score_of(settings), loss_of(settings)
    blocks: list[Block] = [*_sharpness(runs, told[1]), *_noise(runs, told), *_flatness(runs), *_lines(runs, told)]
    turned = 0
    for place, (name, _, geometry) in enumerate(runs, 1):
        suffix = f"-{place}" if len(runs) > 1 else ""
        whose = f": {name}" if len(runs) > 1 else ""
        surface, plane = geometry.get("surface") or {}, geometry.get("plane") or {}
        if surface:
            blocks += _surface(surface, suffix, whose, told, turned < SOLID)
            turned += 1
        if plane:
            blocks += _plane(plane, suffix, whose, told)
    return Section("landscape", "Loss landscape", blocks) if blocks else None


def _rows(runs: Runs, name: str) -> list[tuple[str, dict[str, Any]]]:
    return [(run, row) for run, _, geometry in runs for row in geometry.get(name) or []]


def _by_kind(runs: Runs, name: str, kind: str, x: str, y: str, std: str = "") -> list[Mark]:
    """A line for each run and kind; kinds have dashes of their own."""
    kinds = list(dict.fromkeys(str(row.get(kind)) for _, row in _rows(runs, name)))
    marks: list[Mark] = []
    for place, (run, setting, geometry) in enumerate(runs):
        for number_, of in enumerate(kinds):
            rows = [
                row for row in geometry.get(name) or [] if str(row.get(kind)) == of and number(row.get(y)) is not None
            ]
            rows.sort(key=lambda row: float(row.get(x) or 0.0))
            if not rows:
                continue
            words = f"{run}, {in_words(of)}" if len(kinds) > 1 else run
            low = [row[y] - (row.get(std) or 0.0) for row in rows] if std else None
            high = [row[y] + (row.get(std) or 0.0) for row in rows] if std else None
            at, dash = [row.get(x) for row in rows], DASHES[number_ % len(DASHES)]
            marks.append(Line(at, [row[y] for row in rows], words, colour_of(runs, place, setting), low, high, dash))
    return marks


def _sharpness(runs: Runs, loss: Score) -> list[Figure | Table]:
    rows = _rows(runs, "sharpness")
    if not rows:
        return []
    found: list[Figure | Table] = []
    radius = Axis("radius ρ of the ball")
    if len({row.get("rho") for _, row in rows}) > 1:
        for id, key, title, what in (
            (
                "sharpness",
                "sharpness",
                "Sharpness",
                "Largest rise of the training loss in a ball around the final model",
            ),
            (
                "m-sharpness",
                "m_sharpness",
                "m-sharpness",
                "Mean over mini-batches of their losses' largest rise in the ball",
            ),
        ):
            marks = _by_kind(runs, "sharpness", "ball", "rho", key)
            if marks:
                axis = Axis(in_unit(title.lower(), loss.unit))
                found.append(Figure(id, title, f"{what}, against its radius.", radius, axis, marks))
    columns = ("loss in the ball", "sharpness", "m-sharpness")
    header = ["run", "ball", "ρ", *(in_unit(column, loss.unit) for column in columns)]
    keys = ("rho", "loss", "sharpness", "m_sharpness")
    cells = [
        [run, in_words(str(row.get("ball", ""))), *(significant(row.get(key)) for key in keys)] for run, row in rows
    ]
    found.append(Table("Sharpness of the training loss at the final model.", header, cells, 2, bool(found)))
    return found


def _noise(runs: Runs, told: Told) -> list[Figure | Table]:
    rows = _rows(runs, "noise")
    if not rows:
        return []
    found: list[Figure | Table] = []
    scale = Axis("standard deviation σ of the noise")
    draws = max(int(row.get("draws") or 0) for _, row in rows)
    over = f" Mean over {draws} draws, the band is ± one standard deviation." if draws else ""
    if len({row.get("sigma") for _, row in rows}) > 1:
        for score in told:
            marks = _by_kind(runs, "noise", "kind", "sigma", score.name, f"{score.name}_std")
            if marks:
                caption = f"{score.title} of the final model when Gaussian noise is added to its weights.{over}"
                id, title = f"noise-{identity(score.name)}", f"{score.title} under noise"
                found.append(Figure(id, title, caption, scale, score_axis(score), marks))
    headline, loss = told
    cells = [
        [
            run,
            in_words(str(row.get("kind", ""))),
            significant(row.get("sigma")),
            _with(significant(row.get("loss")), significant(row.get("loss_std"), 2)),
            headline.cell(number(row.get(headline.name)), number(row.get(f"{headline.name}_std"))),
        ]
        for run, row in rows
    ]
    header = ["run", "noise", "σ", loss.label(), headline.label()]
    found.append(Table(f"The final model with noise added to its weights.{over}", header, cells, 2, bool(found)))
    return found


def _with(value: str, spread: str) -> str:
    return value if spread == "–" else f"{value} ± {spread}"


def _flatness(runs: Runs) -> list[Figure | Table]:
    marks: list[Mark] = []
    header: dict[str, None] = {}
    rows = []
    for place, (run, setting, geometry) in enumerate(runs):
        flatness = geometry.get("flatness") or {}
        clients = flatness.get("clients") or []
        both = [c for c in clients if number(c.get("sharpness_own")) is not None]
        both = [c for c in both if number(c.get("sharpness_global")) is not None]
        if both:
            texts = [f"{run}, client {c.get('client')}" for c in both]
            x, y = [c["sharpness_global"] for c in both], [c["sharpness_own"] for c in both]
            marks.append(Points(x, y, run, colour_of(runs, place, setting), texts))
        spec = {name: known for name, value in flatness.items() if (known := number(value)) is not None}
        for name in dict.fromkeys(name for c in clients for name in c if name != "client"):
            of_clients = [known for c in clients if (known := number(c.get(name))) is not None]
            if of_clients:
                spec[f"{name}, mean of clients"] = fmean(of_clients)
        if spec:
            header |= dict.fromkeys(spec)
            rows.append((run, spec))
    found: list[Figure | Table] = []
    if marks:
        caption = (
            "Sharpness at each client: of the loss of all clients (across) and of its own (up). Far from the diagonal,"
            " what is flat for one is not for the other."
        )
        axes = Axis("sharpness of the global loss"), Axis("sharpness of the client's own loss")
        found.append(Figure("flatness", "Flatness for one and for all", caption, *axes, marks))
    if rows:
        cells = [[run, *(significant(spec.get(name)) for name in header)] for run, spec in rows]
        found.append(Table("Local and global flatness.", ["run", *map(in_words, header)], cells))
    return found


def _lines(runs: Runs, told: Told) -> list[Figure | Table]:
    """From the raw model to the averaged one, and to the model of another run."""
    return [*_line(runs, told, "line", "along a line"), *_line(runs, told, "to", "on the way to another run")]


def _line(runs: Runs, told: Told, part: str, where: str) -> list[Figure | Table]:
    found: list[Figure | Table] = []
    having = [(place, *run, run[2][part]) for place, run in enumerate(runs) if run[2].get(part)]
    for score in reversed(told):
        marks = [
            Line(line["t"], line[score.name], run, colour_of(runs, place, setting))
            for place, run, setting, _, line in having
            if line.get("t") and line.get(score.name)
        ]
        if marks:
            ends = list(dict.fromkeys((str(line.get("from", "")), str(line.get("to", ""))) for *_, line in having))
            named = "; ".join(f"t = 0: {a}, t = 1: {b}" for a, b in ends if a or b)
            caption = f"{score.title} of (1 − t) θ₀ + t θ₁" + (f"; {named}." if named else ".")
            id, title = f"{part}-{identity(score.name)}", f"{score.title} {where}"
            found.append(Figure(id, title, caption, Axis("t"), score_axis(score), marks))
    return found


def _scaled(values: Sequence[Sequence[Any]], loss: Score) -> tuple[list[list[float | None]], str, str]:
    """A grid of losses, or of their logarithms where they span much; its unit, and a remark."""
    known = [[number(value) for value in row] for row in values]
    flat = [value for row in known for value in row if value is not None]
    if not flat or min(flat) <= 0 or max(flat) < STEEP * min(flat):
        return known, loss.label(), ""
    logs = [[math.log10(value) if value is not None and value > 0 else None for value in row] for row in known]
    remark = " The logarithm is shown, as the loss spans orders of magnitude."
    return logs, in_unit("log₁₀ of the loss", loss.unit), remark


def _grids(part: dict[str, Any], told: Told) -> list[tuple[Score, list[list[float | None]], str, str]]:
    found = []
    score, loss = told
    if part.get("loss"):
        found.append((loss, *_scaled(part["loss"], loss)))
    if part.get(score.name):
        known = [[number(value) for value in row] for row in part[score.name]]
        found.append((score, known, score_axis(score).label, ""))
    return found


def _surface(part: dict[str, Any], suffix: str, whose: str, told: Told, turned: bool) -> list[Figure]:
    figures = []
    x, y = Axis("first direction"), Axis("second direction")
    for score, z, unit, remark in _grids(part, told):
        what = f"{score.title} of the final model moved along two directions{whose}, in steps along them."
        what += remark + _error(part)
        if turned and score.name == "loss":
            solid = [Map(part["x"], part["y"], z, unit, "solid")]
            caption = f"{what} It can be turned."
            figures.append(
                Figure(f"surface{suffix}", f"Loss surface{whose}", caption, x, y, solid, z=Axis(unit), tall=480)
            )
        flat = [Map(part["x"], part["y"], z, unit, "contour", percent=score.share)]
        id, title = f"contour-{identity(score.name)}{suffix}", f"{score.title} as contour{whose}"
        figures.append(Figure(id, title, what, x, y, flat, square=True, tall=460))
    return figures


def _error(part: dict[str, Any]) -> str:
    error = number(part.get("loss_error"))
    return (
        "" if error is None else f" Losses in {part.get('precision')}, where tried {error:.1e} off, relative to them."
    )


def _plane(part: dict[str, Any], suffix: str, whose: str, told: Told) -> list[Figure]:
    figures = []
    points = [p for p in part.get("points") or [] if number(p.get("x")) is not None and number(p.get("y")) is not None]
    named = "; ".join(
        f"{p.get('name')}: {significant(p.get('loss'))}" for p in points if number(p.get("loss")) is not None
    )
    losses = f" {in_unit('Losses', told[1].unit)}: {named}." if named else ""
    for score, z, unit, remark in _grids(part, told):
        marks: list[Mark] = [Map(part["x"], part["y"], z, unit, "contour", percent=score.share)]
        if points:
            names = [str(p.get("name", "")) for p in points]
            marks.append(
                Points([p["x"] for p in points], [p["y"] for p in points], "models", "#D55E00", names, named=True)
            )
        what = f"{score.title} on the plane through the named models{whose}"
        caption = f"{what}; axes in units of distance.{losses}{remark}{_error(part)}"
        id, title = f"plane-{identity(score.name)}{suffix}", f"{score.title} on a plane{whose}"
        x, y = Axis("distance along the plane"), Axis("distance across")
        figures.append(Figure(id, title, caption, x, y, marks, square=True, tall=460))
    return figures
