"""Parallel coordinates: one upright axis a quantity, and one line a trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedsam.reports.marks import VIRIDIS, Mark, bare, rich

GREY = "#9aa1ab"


@dataclass(frozen=True)
class Upright:
    """One of the axes.

    Args:
        label: its name.
        values: of each trial, a number or, with `places`, the number of a place; None = the trial has none.
        places: names along it.
        log: whether equal steps are equal ratios.
        percent: whether it is a share.
        whole: whether only whole numbers stand beside it.
    """

    label: str
    values: Sequence[float | None]
    places: Sequence[str] = ()
    log: bool = False
    percent: bool = False
    whole: bool = False

    def heights(self) -> list[float | None]:
        """Where the trials are, on a scale of equal steps."""
        return [None if value is None else math.log10(value) if self.log else float(value) for value in self.values]

    def ends(self) -> tuple[float, float]:
        """The lowest and the highest; apart, also if all are equal."""
        found = [height for height in self.heights() if height is not None]
        low, high = (min(found), max(found)) if found else (0.0, 0.0)
        return (low, high) if low < high else (low - 0.5, high + 0.5)

    def ticks(self) -> tuple[list[float], list[str]]:
        """Where there is a number or a name, from 0 to 1, and which."""
        low, high = self.ends()
        if self.places:
            return [self.share(float(place)) for place in range(len(self.places))], list(self.places)
        if self.whole and not self.log:
            step = max(1, round((high - low) / 5))
            whole = [float(number) for number in range(math.ceil(low), math.floor(high) + 1, step)]
            return [self.share(number) for number in whole], [f"{number:.0f}" for number in whole]
        numbers = [low + (high - low) * part / 4 for part in range(5)]
        shown = [100 * number if self.percent else 10**number if self.log else number for number in numbers]
        return [part / 4 for part in range(5)], [f"{number:.3g}{'%' * self.percent}" for number in shown]

    def share(self, height: float) -> float:
        """How far up the axis a height is, from 0 to 1."""
        low, high = self.ends()
        return (height - low) / (high - low)

    def shares(self) -> list[float | None]:
        """How far up the axis the trials are."""
        return [None if height is None else self.share(height) for height in self.heights()]


@dataclass(frozen=True)
class Parallel(Mark):
    """Lines through upright axes, coloured by the last one.

    Plotly's own kind of trace for this needs WebGL, which not every browser has.

    Args:
        axes: from the left; a trial that has no value on one has a gap there.
        lower: whether a trial is the better the lower it is on the last one.
    """

    axes: Sequence[Upright]
    lower: bool = False

    def lines(self) -> list[tuple[list[float | None], str]]:
        """Of each trial the shares along the axes, and its colour; the best last, so that they are seen."""

        def good(shares: Sequence[float | None]) -> float:
            return abs((shares[-1] or 0.0) - self.lower)

        found = sorted(zip(*(axis.shares() for axis in self.axes), strict=True), key=good)
        return [(list(shares), viridis(good(shares))) for shares in found]

    def traces(self) -> list[dict[str, Any]]:
        """The lines, the axes, and what stands beside them."""
        names = [rich(axis.label) for axis in self.axes]
        quiet = {"type": "scatter", "showlegend": False, "hoverinfo": "skip"}
        found = []
        for shares, colour in self.lines():
            line: dict[str, Any] = {"color": colour, "width": 1.6}
            found.append(quiet | {"mode": "lines", "x": names, "y": shares, "line": line, "opacity": 0.75})
        for name, axis in zip(names, self.axes, strict=True):
            at, texts = axis.ticks()
            found.append(quiet | {"mode": "lines", "x": [name, name], "y": [0, 1], "line": {"color": GREY, "width": 1}})
            beside = {"text": [f" {rich(text)}" for text in texts], "textposition": "middle right"}
            found.append(quiet | {"mode": "text", "x": [name] * len(at), "y": at, "cliponaxis": False} | beside)
        return found

    def paint(self, axes: Any) -> None:
        """The same."""
        for shares, colour in self.lines():
            heights = [float("nan") if share is None else share for share in shares]
            axes.plot(range(len(heights)), heights, color=colour, linewidth=1, alpha=0.8)
        for place, axis in enumerate(self.axes):
            axes.axvline(place, color=GREY, linewidth=0.6)
            for height, name in zip(*axis.ticks(), strict=True):
                axes.annotate(bare(name), (place, height), xytext=(2, 0), textcoords="offset points", fontsize=7)
        axes.set_xticks(range(len(self.axes)), [bare(axis.label) for axis in self.axes])
        axes.set_yticks([])


def viridis(share: float) -> str:
    """The colour of a share from 0 to 1.

    >>> viridis(0.0), viridis(1.0)
    ('#440154', '#fde725')
    """
    place = min(max(share, 0.0), 1.0) * (len(VIRIDIS) - 1)
    number = min(int(place), len(VIRIDIS) - 2)
    ends = [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in VIRIDIS[number : number + 2]]
    return "#" + "".join(f"{round(a + (place - number) * (b - a)):02x}" for a, b in zip(*ends, strict=True))
