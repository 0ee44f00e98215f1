"""Curvature of the loss: eigenvalues over rounds, spectral density, and what a run's geometry.json says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedsam.measure.score import Score
from fedsam.reports.figure import Axis, Figure
from fedsam.reports.marks import Line, Mark, Points
from fedsam.reports.numbers import Get, curve, number
from fedsam.reports.palette import COLOURS
from fedsam.reports.section import (
    Block,
    Section,
    Table,
    curves,
    in_words,
    lines,
    loss_of,
    over_seeds,
    score_of,
    significant,
)
from fedsam.reports.settings import Setting

DEEP = 1e-7  # of the highest density; what is less is below the axis
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
NAMES = {
    "ratio": "ratio of eigenvalues",
    "trace": "trace of the Hessian",
    "gradient_norm": "norm of the gradient",
    "loss": "training loss at the global model",
}
"""Quantities in words; another is shown by its own name."""

ASIDE = {"trace_error", "evaluations", "images", "residuals"}
"""What is not drawn over rounds: what a measurement took, and errors of one estimate, beside the spread over seeds."""


def measured(settings: Sequence[Setting]) -> list[tuple[str, Setting, dict[str, Any]]]:
    """The runs that have a geometry.json: a name, the setting, what it says."""
    found = []
    for setting in settings:
        having = {seed: run.geometry for seed, run in setting.runs.items() if run.geometry}
        for seed, geometry in having.items():
            found.append((setting.name + (f", seed {seed}" if len(having) > 1 else ""), setting, geometry))
    return found


def curvature(settings: Sequence[Setting]) -> Section | None:
    """Eigenvalues over rounds, then the spectrum at the end, of the whole and of single clients."""
    blocks: list[Block] = [*_over_rounds(settings)]
    runs = measured(settings)
    tables = _tables(runs, score_of(settings), loss_of(settings))
    blocks += [block for block in (_density(runs), _clients(runs), *tables) if block]
    return Section("curvature", "Curvature", blocks) if blocks else None


def _inside(name: str, place: int | None = None) -> Get:
    def get(record: dict[str, Any]) -> float | None:
        value = (record.get("geometry") or {}).get(name)
        if place is not None:
            value = value[place] if isinstance(value, list) and place < len(value) else None
        return number(value)

    return get


def _over_rounds(settings: Sequence[Setting]) -> list[Figure]:
    held = [g for s in settings for run in s.runs.values() for r in run.metrics if (g := r.get("geometry"))]
    if not held:
        return []
    figures = []
    most = max(len(geometry.get("eigenvalues") or []) for geometry in held)
    marks: list[Mark] = []
    tops = []
    for setting in settings:
        for place in range(most):
            drawn = curve(setting, _inside("eigenvalues", place))
            name = f"{setting.name}, λ{str(place + 1).translate(SUBSCRIPTS)}"
            if drawn and place:
                marks.append(Line(drawn.rounds, drawn.mean, name, setting.colour, thin=True, of=setting.name))
            elif drawn:
                tops.append(drawn)
                marks += [mark for mark in lines(setting, drawn) if not (isinstance(mark, Line) and mark.thin)]
    if marks:
        seeds = over_seeds(tops).replace(", thin lines are single seeds", "")
        others = f", thin: the next {most - 1}" if most > 1 else ""
        caption = (
            f"Largest eigenvalues of the Hessian of the global training loss against rounds; thick: λ₁{others}. {seeds}"
        )
        axes = Axis("round", whole=True), Axis("eigenvalue")
        figures.append(Figure("eigenvalues", "Eigenvalues over rounds", caption, *axes, marks, together=len(tops) <= 8))
    for name in dict.fromkeys(name for geometry in held for name in geometry):
        if name in ASIDE:
            continue
        words = NAMES.get(name, in_words(name))
        id = f"rounds-{''.join(c if c.isalnum() else '-' for c in name)}"
        title = f"{words[:1].upper()}{words[1:]} over rounds"
        figure = curves(
            id, title, f"{words[:1].upper()}{words[1:]} against rounds.", Axis(words), settings, _inside(name)
        )
        if figure:
            figures.append(figure)
    return figures


def _density(runs: Sequence[tuple[str, Setting, dict[str, Any]]]) -> Figure | None:
    marks: list[Mark] = []
    width = None
    positive: list[float] = []
    for place, (name, setting, geometry) in enumerate(runs):
        density = (geometry.get("global") or {}).get("density") or {}
        above = [known if (known := number(value)) and known > 0 else None for value in density.get("density") or []]
        if any(above):
            positive += [value for value in above if value]
            width = density.get("width", width)
            marks.append(Line(density["grid"], above, name, colour_of(runs, place, setting), dash=setting.dash))
    if not marks:
        return None
    ends = max(min(positive), max(positive) * DEEP) / 2, max(positive) * 2
    broad = f", each eigenvalue a Gaussian of width {significant(width)}" if number(width) is not None else ""
    caption = (
        f"Density of the eigenvalues of the Hessian of the global training loss at the end{broad}; logarithmic scale."
    )
    return Figure(
        "density", "Spectral density", caption, Axis("eigenvalue"), Axis("density", log=True, ends=ends), marks
    )


def colour_of(runs: Sequence[tuple[str, Setting, dict[str, Any]]], place: int, setting: Setting) -> str:
    """That of its setting; where all runs are of one setting, one for each run."""
    one = len({s.name for _, s, _ in runs}) == 1
    return COLOURS[place % len(COLOURS)] if one else setting.colour


def _clients(runs: Sequence[tuple[str, Setting, dict[str, Any]]]) -> Figure | None:
    marks: list[Mark] = []
    for place, (name, setting, geometry) in enumerate(runs):
        rows = [row for row in geometry.get("clients") or [] if row.get("eigenvalues")]
        if rows:
            texts = [f"{name}, client {row.get('client')}" for row in rows]
            x, y = [row.get("examples") for row in rows], [row["eigenvalues"][0] for row in rows]
            marks.append(Points(x, y, name, colour_of(runs, place, setting), texts))
    if not marks:
        return None
    what = "Largest eigenvalue of the Hessian of single clients' training losses at the final model"
    caption = f"{what}, against their examples."
    axes = Axis("training examples of the client"), Axis("λ₁ of the client's loss")
    return Figure("client-eigenvalues", "Curvature by client", caption, *axes, marks)


def _tables(runs: Sequence[tuple[str, Setting, dict[str, Any]]], score: Score, loss: Score) -> list[Table]:
    whole = [(name, geometry, geometry.get("global") or {}) for name, _, geometry in runs]
    tables = []
    rows = []
    for name, geometry, own in whole:
        error = f" ± {significant(own.get('trace_error'), 2)}" if number(own.get("trace_error")) is not None else ""
        about = [significant(geometry.get(key)) for key in ("round", "images", "parameters")]
        values = [
            significant(own.get("loss")),
            score.cell(number(own.get(score.name))),
            significant(own.get("gradient_norm")),
        ]
        rows.append([name, *about, *values, significant(own.get("ratio")), significant(own.get("trace")) + error])
    if any(own for _, _, own in whole):
        header = ["run", "round", "images", "parameters", loss.label(), score.label(), "‖∇‖", "ratio", "trace"]
        caption = (
            f"The training loss at the final model: its value, {score.words}, the norm of the gradient, the ratio of"
            " the first eigenvalue to the last one computed, and the trace of the Hessian (± standard error of its"
            " estimate)."
        )
        tables.append(Table(caption, header, rows))
    most = max((len(own.get("eigenvalues") or []) for _, _, own in whole), default=0)
    if most:
        rows = []
        for name, _, own in whole:
            values, residuals = own.get("eigenvalues") or [], own.get("residuals") or []
            errors = [f" ({known:.0e})" if (known := number(residual)) is not None else "" for residual in residuals]
            cells = [significant(value) + "".join(errors[at : at + 1]) for at, value in enumerate(values)]
            rows.append([name, *cells, *["–"] * (most - len(cells))])
        header = ["run", *(f"λ{str(place + 1).translate(SUBSCRIPTS)}" for place in range(most))]
        caption = "Largest eigenvalues of the Hessian at the final model; in brackets the residual ‖Hv − λv‖."
        tables.append(Table(caption, header, rows))
    phases = dict.fromkeys(name for _, geometry, _ in whole for name in geometry.get("seconds") or {})
    if phases:
        rows = [[name, *(significant((g.get("seconds") or {}).get(phase)) for phase in phases)] for name, g, _ in whole]
        caption = "Time that these measurements took, in seconds."
        tables.append(Table(caption, ["run", *map(in_words, phases)], rows, folded=True))
    return tables
