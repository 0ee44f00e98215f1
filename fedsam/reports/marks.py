"""What figures are made of. Each is described once and drawn twice: by plotly in the page, by matplotlib for papers.

Marks hold plain lists of numbers, which stand in the page as they are. Text from users is escaped for each drawer.
"""

from __future__ import annotations

import html
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Numbers = Sequence[float | None]
VIRIDIS = ("#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725")
DASHES = ("solid", "dash", "dot", "dashdot")
PAPER_DASHES = dict(zip(DASHES, ("-", "--", ":", "-."), strict=True))
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
PAPER_SYMBOLS = dict(zip(SYMBOLS, "osD^PX", strict=True))
COLOUR_BAR = {"thickness": 12, "outlinewidth": 0}


def rich(text: str) -> str:
    """Text for plotly, which takes some tags, entities and dollars for its own; long lines are broken."""
    return "<br>".join(html.escape(line, quote=False).replace("$", "&#36;") for line in textwrap.wrap(text, 42) or [""])


def bare(text: str) -> str:
    """Text for matplotlib, to which dollars mean mathematics."""
    return text.replace("$", r"\$")


class Mark(ABC):
    """A thing drawn on the axes of a figure."""

    @abstractmethod
    def traces(self) -> list[dict[str, Any]]:
        """For plotly."""

    @abstractmethod
    def paint(self, axes: Any) -> None:
        """For matplotlib."""

    def label(self) -> str | None:
        """Its entry in the legend."""
        return None


@dataclass(frozen=True)
class Line(Mark):
    """A line through points; None is a gap.

    Args:
        low, high: the edges of a band around it.
        thin: one of several behind a mean; without an entry in the legend.
        step: level until the next point, as a distribution function is.
        of: lines with the same one are shown and hidden together; empty = `name`.
    """

    x: Numbers
    y: Numbers
    name: str
    colour: str
    low: Numbers | None = None
    high: Numbers | None = None
    dash: str = "solid"
    thin: bool = False
    step: bool = False
    of: str = ""

    def traces(self) -> list[dict[str, Any]]:
        """The edges of the band, then the line."""
        group: dict[str, Any] = {"type": "scatter", "legendgroup": rich(self.of or self.name)}
        found = []
        if self.low is not None and self.high is not None:
            edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
            shade = {"fill": "tonexty", "fillcolor": f"{self.colour}2b"}
            name = rich(self.name)
            found.append(group | edge | {"x": list(self.x), "y": list(self.low), "name": f"{name}: mean − std"})
            found.append(
                group | edge | shade | {"x": list(self.x), "y": list(self.high), "name": f"{name}: mean + std"}
            )
        line = {"color": self.colour, "width": 1 if self.thin else 2.2, "dash": self.dash}
        if self.step:
            line["shape"] = "hv"
        trace = group | {"x": list(self.x), "y": list(self.y), "name": rich(self.name), "line": line}
        trace["mode"] = "lines" if self.thin or self.step or len(self.x) > 25 else "lines+markers"
        if self.thin:
            trace |= {"opacity": 0.4, "showlegend": False, "hoverinfo": "skip"}
        return [*found, trace]

    def paint(self, axes: Any) -> None:
        """The band, then the line."""
        if self.low is not None and self.high is not None:
            axes.fill_between(self.x, _gaps(self.low), _gaps(self.high), color=self.colour, alpha=0.17, linewidth=0)
        style = {"drawstyle": "steps-post"} if self.step else {}
        if not (self.thin or self.step or len(self.x) > 25):
            style["marker"] = "o"
        axes.plot(
            self.x,
            _gaps(self.y),
            color=self.colour,
            label=None if self.label() is None else bare(self.name),
            linestyle=PAPER_DASHES[self.dash],
            linewidth=0.6 if self.thin else 1.6,
            alpha=0.5 if self.thin else 1.0,
            markersize=3.5,
            **style,
        )

    def label(self) -> str | None:
        """Its name, unless it is thin."""
        return None if self.thin else self.name


@dataclass(frozen=True)
class Points(Mark):
    """Points, each with a text that is shown when it is pointed at, or beside it with `named`.

    Args:
        bars: half the length of an error bar at each.
        quiet: without an entry in the legend.
    """

    x: Numbers | Sequence[str]
    y: Numbers
    name: str
    colour: str
    texts: Sequence[str] = ()
    symbol: str = "circle"
    named: bool = False
    bars: Numbers | None = None
    quiet: bool = False

    def traces(self) -> list[dict[str, Any]]:
        """One trace."""
        look: dict[str, Any] = {
            "color": self.colour,
            "size": 11 if self.named or self.quiet else 8,
            "symbol": self.symbol,
        }
        look |= {"line": {"color": "#ffffff", "width": 1.5 if self.named else 0.5}}
        trace: dict[str, Any] = {"type": "scatter", "name": rich(self.name), "marker": look}
        trace |= {"x": list(self.x), "y": list(self.y)}
        trace["mode"] = "markers+text" if self.named else "markers"
        if self.texts:
            trace["text"] = [rich(text) for text in self.texts]
            trace |= {"hovertemplate": "%{text}<br>%{x:.4~g}, %{y:.4~g}"}
        if self.named:
            trace |= {"textposition": "top center", "textfont": {"color": "#ffffff", "size": 12, "shadow": "auto"}}
            trace |= {"showlegend": False, "cliponaxis": False}
        if self.quiet:
            trace |= {"showlegend": False}
        if self.bars is not None:
            trace["error_y"] = {"type": "data", "array": list(self.bars), "color": self.colour, "thickness": 1.2}
        return [trace]

    def paint(self, axes: Any) -> None:
        """The points, and their texts with `named`."""
        label = None if self.label() is None else bare(self.name)
        look = {"color": self.colour, "marker": PAPER_SYMBOLS[self.symbol], "label": label}
        axes.scatter(_gaps(self.x), _gaps(self.y), s=30, edgecolor="white", linewidth=0.6, zorder=3, **look)
        if self.bars is not None:
            axes.errorbar(self.x, _gaps(self.y), _gaps(self.bars), fmt="none", ecolor=self.colour, capsize=2)
        for x, y, text in zip(self.x, self.y, self.texts if self.named else (), strict=False):
            place = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "color": "white", "fontsize": 9}
            axes.annotate(bare(text), (x, y), **place)

    def label(self) -> str | None:
        """Its name, unless it is quiet or texts stand beside the points."""
        return None if self.named or self.quiet else self.name


@dataclass(frozen=True)
class Bars(Mark):
    """Bars, stacked on those of the marks before; `places` are names or whole numbers."""

    places: Sequence[str] | Sequence[int]
    heights: Sequence[float]
    name: str
    colour: str
    flat: bool = False
    base: Sequence[float] = field(default=())

    def traces(self) -> list[dict[str, Any]]:
        """One trace, which plotly itself stacks."""
        at = [rich(place) if isinstance(place, str) else place for place in self.places]
        across = {"x": list(self.heights), "y": at, "orientation": "h"} if self.flat else {"x": at}
        upright = {} if self.flat else {"y": list(self.heights)}
        look = {"color": self.colour, "line": {"width": 0}}
        return [{"type": "bar", "name": rich(self.name), "marker": look} | across | upright]

    def paint(self, axes: Any) -> None:
        """The bars on their base."""
        base = list(self.base) or [0.0] * len(self.heights)
        at = [bare(place) if isinstance(place, str) else place for place in self.places]
        if self.flat:
            axes.barh(at, self.heights, left=base, color=self.colour, label=bare(self.name), height=0.7)
        else:
            axes.bar(at, self.heights, bottom=base, color=self.colour, label=bare(self.name), width=0.85)

    def label(self) -> str | None:
        """Its name."""
        return self.name


@dataclass(frozen=True)
class Map(Mark):
    """Values on a grid as colours, `z[j][i]` at `x[i]`, `y[j]`.

    Args:
        unit: beside the colours.
        form: `heat` (cells), `contour` (lines and filled bands) or `solid` (a surface that can be turned).
        root: whether small values are told apart better, and colours go from 0 to `most`.
    """

    x: Numbers
    y: Numbers
    z: Sequence[Numbers]
    unit: str
    form: str = "heat"
    root: bool = False
    most: float | None = None
    percent: bool = False

    def traces(self) -> list[dict[str, Any]]:
        """One trace."""
        stops = [number / (len(VIRIDIS) - 1) for number in range(len(VIRIDIS))]
        scale = [[at**2 if self.root else at, colour] for at, colour in zip(stops, VIRIDIS, strict=True)]
        bar: dict[str, Any] = {**COLOUR_BAR, "title": {"text": self.unit, "side": "right", "font": {"size": 13}}}
        if self.percent:
            bar["tickformat"] = ".0%"
        grid = {"x": list(self.x), "y": list(self.y), "z": [list(row) for row in self.z]}
        trace = {"type": KINDS[self.form], "colorscale": scale, "colorbar": bar, "showlegend": False} | grid
        if self.form == "contour":
            trace |= {"contours": {"coloring": "heatmap"}, "line": {"color": "#ffffff", "width": 0.7}, "ncontours": 18}
        if self.root:
            trace |= {"zmin": 0, "zmax": self.most}
        return [trace]

    def paint(self, axes: Any) -> None:
        """The colours and their bar; a solid one needs none."""
        import numpy as np
        from matplotlib.colors import PowerNorm
        from matplotlib.ticker import MaxNLocator

        x, y, z = np.array(self.x, float), np.array(self.y, float), np.array(self.z, float)
        if self.form == "solid":
            axes.plot_surface(*np.meshgrid(x, y), z, cmap="viridis", rstride=1, cstride=1, linewidth=0)
            return  # its height says what the colour says
        if self.form == "contour":
            drawn = axes.contourf(x, y, z, levels=60, cmap="viridis")
            drawn.set_edgecolor("face")  # else a viewer of SVG shows the seams
            axes.contour(x, y, z, levels=18, colors="white", linewidths=0.5)
        else:
            norm = PowerNorm(0.5, vmin=0, vmax=self.most) if self.root else None
            drawn = axes.pcolormesh(x, y, z, cmap="viridis", norm=norm, shading="nearest", rasterized=True)
        bar = axes.figure.colorbar(drawn, ax=axes, ticks=(0, 0.01, 0.05, 0.2, 0.5, 1) if self.root else MaxNLocator(7))
        bar.minorticks_off()
        bar.set_label(self.unit)
        if self.percent:
            bar.ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.6g}%")


KINDS = {"heat": "heatmap", "contour": "contour", "solid": "surface"}


def _gaps(values: Numbers | Sequence[str]) -> list[Any]:
    return [float("nan") if value is None else value for value in values]
