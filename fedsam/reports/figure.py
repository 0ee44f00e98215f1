"""A figure: axes, marks, and a caption that says what is plotted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsam.reports.marks import Bars, Map, Mark, Points, bare, rich

if TYPE_CHECKING:
    from fedsam.reports.sheet import Sheet

INK, FAINT, LINE = "#1f2328", "#e4e7eb", "#9aa1ab"  # the page's script has their counterparts for a dark page
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
CLEAR = "rgba(0,0,0,0)"
STYLE: Any = {"svg.hashsalt": "fedsam", "font.size": 9, "axes.unicode_minus": True}
"""Of matplotlib, for what is drawn with it."""


@dataclass(frozen=True)
class Axis:
    """An axis: its label with its unit, and how numbers stand on it.

    Args:
        places: names along it, instead of numbers.
        ends: the range shown; None = the drawer's choice.
        hidden: whether it is not drawn.
    """

    label: str
    log: bool = False
    percent: bool = False
    places: Sequence[str] = ()
    ends: tuple[float, float] | None = None
    whole: bool = False
    hidden: bool = False

    def plotly(self) -> dict[str, Any]:
        """For plotly."""
        found: dict[str, Any] = {
            "title": {"text": self.label, "standoff": 10, "font": {"size": 13}},
            "automargin": True,
            "gridcolor": FAINT,
            "linecolor": LINE,
            "zeroline": False,
            "showline": True,
            "ticks": "outside",
            "tickcolor": LINE,
            "ticklen": 4,
        }
        if self.log:
            found |= {"type": "log", "exponentformat": "power", "nticks": 8}
            found["tickfont"] = {"size": 11}  # of the powers; their base is larger
        if self.percent:
            found["tickformat"] = ".3~%"
        if self.places:
            found |= {"type": "category", "showgrid": False, "ticks": ""}
            found |= {"categoryorder": "array", "categoryarray": [rich(place) for place in self.places]}
        if self.ends:
            found["range"] = [math.log10(end) for end in self.ends] if self.log else list(self.ends)
        if self.whole:
            found["tickformat"] = ",d"
        if self.hidden:
            found["visible"] = False
        return found

    def paint(self, axes: Any, which: str) -> None:
        """For matplotlib; `which` is x, y or z."""
        axis = getattr(axes, f"{which}axis")
        getattr(axes, f"set_{which}label")(bare(self.label))
        if self.log:
            getattr(axes, f"set_{which}scale")("log")
        if self.percent:
            axis.set_major_formatter(lambda share, _: f"{100 * share:.6g}%")
        if self.ends:
            getattr(axes, f"set_{which}lim")(*self.ends)
        if self.whole:
            from matplotlib.ticker import MaxNLocator

            axis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


@dataclass(frozen=True)
class Figure:
    """A figure of a section.

    Args:
        id: letters, digits and dashes; the name of its files.
        caption: says what is plotted, with what is needed to read it.
        z: makes it a solid one, which can be turned.
        square: whether a step is as long on both axes.
        tall: pixels.
    """

    id: str
    title: str
    caption: str
    x: Axis
    y: Axis
    marks: Sequence[Mark]
    z: Axis | None = None
    square: bool = False
    tall: int = 400
    together: bool = False

    def tells(self) -> bool:
        """Whether there is anything to be seen: more than one bar, more than points above one place."""
        kinds = {type(mark) for mark in self.marks}
        if kinds <= {Bars, Points}:
            bars = [mark.places for mark in self.marks if isinstance(mark, Bars)]
            points = [mark.x for mark in self.marks if isinstance(mark, Points)]
            return len({str(place) for places in (*bars, *points) for place in places}) > 1
        return True

    def alternative(self) -> str:
        """What stands for the figure where it cannot be seen."""
        names = list(dict.fromkeys(name for mark in self.marks if (name := mark.label())))
        axes = ", ".join(f"{which}: {axis.label}" for which, axis in (("x", self.x), ("y", self.y)) if axis.label)
        shown = f" Shown: {'; '.join(names)}." if names else ""
        return f"{self.title}. Axes: {axes}.{shown} {self.caption}"

    def plotly(self) -> dict[str, Any]:
        """`data` and `layout` of plotly, with plain lists of numbers."""
        names = {name for mark in self.marks if (name := mark.label())}
        layout: dict[str, Any] = {
            "height": self.tall,
            "autosize": True,
            "margin": {"l": 48, "r": 14, "t": 12, "b": 44},
            "paper_bgcolor": CLEAR,
            "plot_bgcolor": CLEAR,
            "font": {"family": FONT, "size": 13, "color": INK},
            "hoverlabel": {"namelength": -1},
            "hovermode": "x unified" if self.together else "closest",
            "barmode": "stack",
            "bargap": 0.15,
            "showlegend": len(names) > 1,
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": 1.02,
                "yanchor": "bottom",
                "traceorder": "normal",
            },
        }
        axes = {"xaxis": self.x.plotly(), "yaxis": self.y.plotly()}
        if self.square:
            axes["yaxis"] |= {"scaleanchor": "x", "constrain": "domain"}
            axes["xaxis"] |= {"constrain": "domain"}
        if self.z is not None:
            unfit = ("automargin", "ticklen")
            sides = {"xaxis": self.x, "yaxis": self.y, "zaxis": self.z}
            scene: dict[str, Any] = {
                name: {key: value for key, value in axis.plotly().items() if key not in unfit} | {"title": axis.label}
                for name, axis in sides.items()
            }
            small = {"size": 11}
            scene = {
                name: axis | {"title": {"text": axis["title"], "font": small}, "tickfont": small}
                for name, axis in scene.items()
            }
            scene |= {
                "dragmode": "turntable",
                "aspectmode": "cube",
                "camera": {"eye": {"x": 1.75, "y": -1.75, "z": 0.95}},
            }
            layout |= {"scene": scene, "margin": {"l": 0, "r": 0, "t": 0, "b": 0}}
        else:
            layout |= axes
        return {"data": [trace for mark in self.marks for trace in mark.traces()], "layout": layout}

    def save(self, folder: Path) -> list[Path]:
        """Write ID.png, ID.svg and ID.pdf for a paper; the files."""
        from matplotlib import rc_context

        with rc_context(STYLE):
            return self.sheet().write(folder, self.id)

    def sheet(self) -> Sheet:
        """The figure as matplotlib draws it."""
        from matplotlib import rc_context

        from fedsam.reports.sheet import Sheet

        with rc_context(STYLE):
            sheet = Sheet(figsize=(6.4, 4.0), dpi=200, layout="constrained")
            axes: Any = sheet.add_subplot(projection="3d" if self.z else None)
            for mark in self.marks:
                mark.paint(axes)
            self.x.paint(axes, "x")
            self.y.paint(axes, "y")
            if self.z is not None:
                self.z.paint(axes, "z")
                axes.view_init(elev=28, azim=-50)
                axes.tick_params(labelsize=7, pad=0)
                axes.locator_params(nbins=5)
            elif not any(isinstance(mark, Map) for mark in self.marks):
                axes.grid(alpha=0.25, linewidth=0.6)
                axes.set_axisbelow(True)
                axes.spines[["top", "right"]].set_visible(False)
            if self.square:
                axes.set_aspect("equal")
            if any(isinstance(name, str) for mark in self.marks for name in getattr(mark, "places", ())):
                axes.invert_yaxis()
            handles, labels = axes.get_legend_handles_labels()
            if len(labels) > 1:
                columns = max(1, min(len(labels), 90 // (max(map(len, labels)) + 6), 6))
                sheet.set_figheight(4.0 + 0.17 * max(0, -(-len(labels) // columns) - 2))
                sheet.legend(handles, labels, loc="outside upper left", ncols=columns, frameon=False)
        return sheet
