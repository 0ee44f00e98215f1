"""Learning curves and the course of a search, as figures for a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsam.measure.names import split_of, value_of
from fedsam.measure.score import Score
from fedsam.reports.marks import PAPER_DASHES
from fedsam.reports.palette import COLOURS
from fedsam.reports.words import readable

if TYPE_CHECKING:
    from fedsam.reports.sheet import Sheet

Metrics = Mapping[str, Mapping[int, list[dict[str, Any]]]]
"""Recorded rounds by setting, then by seed."""
STYLES = tuple(PAPER_DASHES.values())


def curves(metrics: Metrics, score: Score, about: str) -> Sheet:
    """The headline metric against rounds: the mean over seeds, and a band of one standard deviation around it.

    Args:
        metrics: at least one record for each setting and seed.
        score: how the metric is told.
        about: data and cohort, with which the title begins.
    """
    from matplotlib.ticker import MaxNLocator

    from fedsam.reports.sheet import Sheet

    figure = Sheet(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    lowest = 1.0
    split = split_of(next(iter(next(iter(metrics.values())).values()))[-1])
    bands = len(metrics) <= len(COLOURS)  # more of them add up to grey
    shown, left_out = few(list(metrics))
    for number, setting in enumerate(shown):
        by_seed = metrics[setting]
        colour, dash = COLOURS[number % len(COLOURS)], STYLES[number // len(COLOURS)]
        rounds = [record["round"] for record in next(iter(by_seed.values()))]
        values = np.array([[value_of(record) for record in records] for records in by_seed.values()])
        mean, std = values.mean(axis=0), values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(len(rounds))
        low, high = ((mean - std).clip(0), (mean + std).clip(max=1)) if score.share else (mean - std, mean + std)
        label = readable(setting)
        axes.plot(rounds, score.scale * mean, color=colour, linestyle=dash, label=label, linewidth=1.6)
        if bands:
            axes.fill_between(rounds, score.scale * low, score.scale * high, color=colour, alpha=0.15, linewidth=0)
        lowest = min(lowest, float(mean[len(mean) // 4 :].min()))
    seeds = len(next(iter(metrics.values())))
    spread = f"mean {'and standard deviation ' * bands}of {seeds} seeds" if seeds > 1 else "one seed"
    less = f"; the first {len(shown)} of {len(metrics)} settings" if left_out else ""
    axes.set_title(f"{about}: {spread}{less}", loc="left", fontsize=11)
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(score.label(split))
    axes.set_xlim(0, None)
    if score.share:
        axes.set_ylim(max(0.0, 100 * lowest - 8), min(100.5, axes.get_ylim()[1]))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if len(shown) > 1:
        legend_below(figure, [readable(setting) for setting in shown])
    return figure


def few(settings: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """As many settings as there are styles of lines, and the others."""
    most = len(COLOURS) * len(STYLES)
    return settings[:most], settings[most:]


def legend_below(figure: Sheet, labels: Sequence[str]) -> None:
    """A legend outside of the axes, where it hides nothing."""
    columns = max(1, min(len(labels), 100 // (max(map(len, labels)) + 6), 4))
    figure.set_figheight(figure.get_figheight() + 0.2 * -(-len(labels) // columns))
    figure.legend(loc="outside lower left", ncols=columns, frameon=False)


def search_curve(values: Sequence[float | None], score: Score) -> Sheet:
    """The validation metric of each trial in turn, and the best so far.

    Args:
        values: of the trials; None or NaN where one failed.
        score: how the metric is told.
    """
    from fedsam.reports.sheet import Sheet

    figure = Sheet(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    at_N = np.arange(len(values))
    value_N = score.scale * np.array([np.nan if value is None else value for value in values], dtype=float)
    gain_N = value_N if score.better == "higher" else -value_N
    best_N = np.maximum.accumulate(np.where(np.isfinite(gain_N), gain_N, -np.inf))
    best_N = np.where(np.isfinite(best_N), best_N if score.better == "higher" else -best_N, np.nan)
    axes.plot(at_N, value_N, "o", color=COLOURS[0], markersize=4, label="trial")
    axes.step(at_N, best_N, where="post", color=COLOURS[1], linewidth=1.6, label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel(score.label("validation"))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
