"""Figures of finished runs: panels of lines, as PNG and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from fedsam.reports.palette import COLOURS
from fedsam.storage.files import on_disk, replace_file
from fedsam.storage.text import encoded

Line = tuple[Sequence[float], Sequence[Sequence[float]]]
"""x, and the values: a row per seed."""


@dataclass(frozen=True)
class Panel:
    """Axes with some lines: the mean over seeds, and a band of one standard deviation around it.

    Args:
        x, y: what is on the axes, with units.
        lines: by label.
        log: whether the vertical axis is logarithmic.
        labels: in place of the numbers on the horizontal axis, where these are 0, 1, ...
        share: whether values are shares of which more is better, which end at 1.
    """

    x: str
    y: str
    lines: Mapping[str, Line]
    log: bool = False
    labels: tuple[str, ...] = ()
    share: bool = False

    def draw(self, axes: Any) -> None:
        """Draw it; other kinds of panels do it in another way."""
        _draw(axes, self)


def save(panels: Sequence[Panel], path: Path) -> None:
    """Draw panels beside each other, `path`.png, and write their numbers, `path`.csv."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    widths = [max(4.6, 0.45 * len(panel.labels)) for panel in panels]
    figure = Figure(figsize=(sum(widths), 3.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(1, len(panels), width_ratios=widths)
    for axes, panel in zip(np.atleast_1d(places), panels, strict=True):
        panel.draw(axes)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    for name, content in ((".png", drawn.getvalue()), (".csv", encoded(as_csv(panels)))):
        with on_disk(path.with_suffix(name)):
            replace_file(path.with_suffix(name), content)


def _draw(axes: Any, panel: Panel) -> None:
    beside = np.linspace(-0.3, 0.3, len(panel.lines)) if len(panel.lines) > 1 else [0.0]
    for shift, colour, (label, (x, rows)) in zip(beside, cycle(COLOURS), panel.lines.items(), strict=False):
        values = np.array(rows, dtype=float)
        mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1) if len(values) > 1 else 0 * values[0]
        low, high = mean - spread, mean + spread
        if panel.share:
            high = np.minimum(high, 1)
        if panel.log:  # a band that reaches zero has no place there
            low = np.maximum(low, mean / 10)
        if panel.labels:  # nothing lies between them
            dots = {"marker": "o", "markersize": 4, "capsize": 2, "linestyle": "", "label": label}
            axes.errorbar(np.array(x) + shift, mean, spread, color=colour, **dots)
            continue
        axes.plot(x, mean, color=colour, label=label, linewidth=1.5, marker="o" if len(x) < 20 else None, markersize=3)
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    if panel.labels:
        axes.set_xticks(range(len(panel.labels)), panel.labels, rotation=30, ha="right")
    elif all(float(at).is_integer() for x, _ in panel.lines.values() for at in x):
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    axes.set_yscale("log" if panel.log else "linear")
    if panel.share and axes.get_ylim()[1] > 1:
        axes.set_ylim(top=1 + 0.02 * (1 - axes.get_ylim()[0]))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if len(panel.lines) > 1:
        axes.legend(frameon=False, fontsize=8)


def as_csv(panels: Sequence[Panel]) -> str:
    """One line a point and seed: panel (its vertical axis), line, number of the seed, x, y."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["panel", "line", "seed", "x", "y"])
    for panel in panels:
        for label, (x, rows) in panel.lines.items():
            for number, row in enumerate(rows):
                writer.writerows([panel.y, label, number, at, value] for at, value in zip(x, row, strict=True))
    return text.getvalue()
