"""Learning curves of a comparison, as a figure for a paper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fedsam.measure.names import split_of, value_of
from fedsam.reports.palette import COLOURS
from fedsam.run import Run
from fedsam.runs.records import Record

Metrics = Mapping[str, Mapping[int, list[Record]]]
"""Recorded rounds by setting, then by seed."""


def draw(metrics: Metrics, first: Run, path: Path) -> None:
    """The headline metric against rounds: the mean over seeds, and a band of one standard deviation around it.

    Args:
        first: the run whose data and cohort the title names.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    score, lowest = first.learnt.score, 1.0
    split = split_of(next(iter(next(iter(metrics.values())).values()))[-1])
    for number, (setting, by_seed) in enumerate(metrics.items()):
        colour = COLOURS[number % len(COLOURS)]
        rounds = [record["round"] for record in next(iter(by_seed.values()))]
        values = np.array([[value_of(record) for record in records] for records in by_seed.values()])
        mean, std = values.mean(axis=0), values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(len(rounds))
        low, high = ((mean - std).clip(0), (mean + std).clip(max=1)) if score.share else (mean - std, mean + std)
        axes.plot(rounds, score.scale * mean, color=colour, label=setting, linewidth=1.6)
        axes.fill_between(rounds, score.scale * low, score.scale * high, color=colour, alpha=0.15, linewidth=0)
        lowest = min(lowest, float(mean[len(mean) // 4 :].min()))
    seeds = len(next(iter(metrics.values())))
    spread = f"mean and standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    clients = first.data.fixed_clients
    who = f"{clients} clients, {first.cohort}" if clients else f"a client for each group, {first.cohort}"
    axes.set_title(f"{first.data.name}, {who} per round: {spread}", loc="left", fontsize=11)
    axes.set_xlabel("round")
    axes.set_ylabel(score.label(split))
    axes.set_xlim(0, None)
    if score.share:
        axes.set_ylim(max(0.0, 100 * lowest - 8), min(100.5, axes.get_ylim()[1]))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right" if score.better == "higher" else "upper right", frameon=False)
    figure.savefig(path)
