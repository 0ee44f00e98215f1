"""Panels of points: two numbers of each of many runs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import Any

from fedsam.reports.palette import COLOURS
from fedsam.reproduce.figures import Panel


@dataclass(frozen=True)
class Scatter(Panel):
    """A point for each x and value of each row, without lines between them; a label has its own colour."""

    def draw(self, axes: Any) -> None:
        """Draw it."""
        for colour, (label, (x, rows)) in zip(cycle(COLOURS), self.lines.items(), strict=False):
            for number, row in enumerate(rows):
                axes.plot(x, row, "o", color=colour, label=None if number else label, markersize=3, alpha=0.8)
        axes.set_xlabel(self.x)
        axes.set_ylabel(self.y)
        axes.set_yscale("log" if self.log else "linear")
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        if len(self.lines) > 1:
            axes.legend(frameon=False, fontsize=8)
