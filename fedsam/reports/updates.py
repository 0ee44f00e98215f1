"""How much the clients of a round agree, against rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedsam.reports.figure import Axis
from fedsam.reports.numbers import Get, number
from fedsam.reports.section import Section, curves
from fedsam.reports.settings import Setting

DRAWN = {
    "norm_mean": ("Norm of the updates", "Mean over the round's clients of the norm of their updates.", "norm"),
    "norm_std": ("Spread of the norms", "Standard deviation over the round's clients of the norm of updates.", "norm"),
    "mean_norm": ("Norm of the mean update", "Norm of the mean of the round's updates, weighted by examples.", "norm"),
    "cosine": ("Angle between updates", "Mean cosine over all pairs of the round's clients' updates.", "cosine"),
    "drift": ("Drift", "Mean over the round's clients of the distance of their update from the mean one.", "distance"),
    "diversity": (
        "Diversity",
        "Weighted mean of the squared norms of the round's updates over the squared norm of their weighted mean; 1"
        " where all are equal.",
        "diversity",
    ),
    "negative": (
        "Clients against the mean",
        "Share of the round's clients whose update has a negative inner product with the mean update.",
        "share of clients",
    ),
}
"""Title, caption and unit of what `fedsam.measure.updates` measures."""


def updates_section(settings: Sequence[Setting]) -> Section | None:
    """Norms, cosine, drift, diversity and negatively aligned clients, where they were measured."""
    figures = []
    for name, (title, what, unit) in DRAWN.items():
        axis = Axis(unit, percent=name == "negative")
        id = f"updates-{name.replace('_', '-')}"
        figures.append(curves(id, title, what, axis, settings, _inside(name)))
    blocks: list[Any] = [figure for figure in figures if figure]
    return Section("updates", "Client updates", blocks) if blocks else None


def _inside(name: str) -> Get:
    return lambda record: number((record.get("diagnostics") or {}).get(name))
