"""Parallel coordinates: one upright axis a quantity, and one line a trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedsam.report.marks import COLOUR_BAR, VIRIDIS, Mark, bare, rich


@dataclass(frozen=True)
class Upright:
    """One of the axes.

    Args:
        label: its name.
        values: of each trial, a number or, with `places`, the number of a place; None = the trial has none.
        places: names along it.
        log: whether equal steps are equal ratios.
    """

    label: str
    values: Sequence[float | None]
    places: Sequence[str] = ()
    log: bool = False

    def heights(self) -> list[float | None]:
        """Where the trials are, on a scale of equal steps."""
        return [None if value is None else math.log10(value) if self.log else float(value) for value in self.values]

    def ends(self) -> tuple[float, float]:
        """The lowest and the highest; apart, also if all are equal."""
        found = [height for height in self.heights() if height is not None]
        low, high = (min(found), max(found)) if found else (0.0, 0.0)
        return (low, high) if low < high else (low - 0.5, high + 0.5)

    def ticks(self) -> tuple[list[float], list[str]]:
        """Where there is a number or a name, and which."""
        if self.places:
            return [float(place) for place in range(len(self.places))], [rich(place) for place in self.places]
        low, high = self.ends()
        at = [low + (high - low) * part / 4 for part in range(5)]
        return at, [f"{10**height if self.log else height:.3g}" for height in at]


@dataclass(frozen=True)
class Parallel(Mark):
    """Lines through upright axes, coloured by the last one.

    Args:
        axes: from the left; a trial that has no value on one is drawn at its lower end.
    """

    axes: Sequence[Upright]

    def traces(self) -> list[dict[str, Any]]:
        """One trace."""
        sides = []
        for axis in self.axes:
            at, names = axis.ticks()
            low, high = axis.ends()
            values = [low if height is None else height for height in axis.heights()]
            sides.append({"label": rich(axis.label), "values": values, "tickvals": at, "ticktext": names})
            sides[-1]["range"] = [low, high]
        scale = [[number / (len(VIRIDIS) - 1), colour] for number, colour in enumerate(VIRIDIS)]
        bar = {**COLOUR_BAR, "title": {"text": rich(self.axes[-1].label), "side": "right"}, "tickformat": ".3~%"}
        line = {"color": sides[-1]["values"], "colorscale": scale, "showscale": True, "colorbar": bar}
        # Room for the names above and at both sides: this kind of trace takes none by itself.
        domain = {"x": [0.06, 0.96], "y": [0.02, 0.86]}
        return [{"type": "parcoords", "dimensions": sides, "line": line, "domain": domain}]

    def paint(self, axes: Any) -> None:
        """The lines, and the ends of each axis in numbers."""
        from matplotlib import colormaps

        low, high = self.axes[-1].ends()
        shares = []
        for axis in self.axes:
            bottom, top = axis.ends()
            shares.append([((bottom if h is None else h) - bottom) / (top - bottom) for h in axis.heights()])
        for line in zip(*shares, strict=True):
            axes.plot(range(len(line)), line, color=colormaps["viridis"](line[-1]), linewidth=1, alpha=0.8)
        for place, axis in enumerate(self.axes):
            at, names = axis.ticks()
            low, high = axis.ends()
            axes.axvline(place, color="black", linewidth=0.6)
            for height, name in zip(at, names, strict=True):
                axes.annotate(bare(name), (place, (height - low) / (high - low)), fontsize=7)
        axes.set_xticks(range(len(self.axes)), [bare(axis.label) for axis in self.axes])
        axes.set_yticks([])
