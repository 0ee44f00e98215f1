"""`python docs/hooks/pictures.py [FOLDER]` draws what docs/concepts/partitions.md shows of `fedsam.partition`.

Shapes: K clients, L classes.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image

import fedsam

FOLDER = Path(__file__).parents[1] / "concepts"
STYLE: dict[str, Any] = {"font.size": 9}
COLOURS = 48
CLIENTS, CLASSES = 20, 10
MEANINGS = {
    "dirichlet\nq ~ Dir(α p)": lambda number: {"data.partition": "dirichlet", "data.alpha": number},
    "dirichlet, α = a L\nq ~ Dir(a, ..., a)": lambda number: {
        "data.partition": "dirichlet",
        "data.alpha": number * CLASSES,
    },
    "dirichlet_class\neach class ~ Dir(α, ..., α)": lambda number: {
        "data.partition": "dirichlet_class",
        "data.alpha": number,
    },
}
NUMBERS = 0.1, 1.0, 10.0
OTHERS = {
    "iid": {"data.partition": "iid"},
    "shards, 2 each": {"data.partition": "shards"},
    "quantity, σ = 1": {"data.partition": "quantity", "data.sigma": 1.0},
    "dirichlet, α = 0": {"data.partition": "dirichlet", "data.alpha": 0.0},
    "dirichlet, α = 0.5, σ = 1": {"data.partition": "dirichlet", "data.alpha": 0.5, "data.sigma": 1.0},
    "dirichlet, α = 100": {"data.partition": "dirichlet", "data.alpha": 100.0},
}


def divided(keys: dict[str, Any]) -> Any:
    """The digits, divided among 20 clients."""
    return fedsam.partition(keys={"data.clients": CLIENTS, **keys})


def bars(axes: Any, keys: dict[str, Any]) -> None:
    """A bar for each client, a colour for each class, and the divergence above."""
    division = divided(keys)
    below_K = 0 * division.counts_KL[:, 0]
    for label, colour in enumerate(mpl.colormaps["tab10"].colors):  # type: ignore[attr-defined]
        count_K = division.counts_KL[:, label]
        axes.bar(range(CLIENTS), count_K, bottom=below_K, width=1.0, color=colour, linewidth=0)
        below_K = below_K + count_K
    axes.set(xticks=[], yticks=[], xlim=(-0.5, CLIENTS - 0.5), xlabel=f"{division.summary()['js_mean']:.2f} bits")
    axes.spines[["top", "right", "left"]].set_visible(False)


def meanings() -> Figure:
    """The same number under three meanings."""
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    grid = figure.subplots(len(NUMBERS), len(MEANINGS))
    for row, number in zip(grid, NUMBERS, strict=True):
        for axes, (name, keys) in zip(row, MEANINGS.items(), strict=True):
            bars(axes, keys(number))
            if number == NUMBERS[0]:
                axes.set_title(name, fontsize=9)
        row[0].set_ylabel(f"{number:g}", rotation=0, labelpad=14, fontsize=10)
    return figure


def others() -> Figure:
    """The other rules."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    for axes, (name, keys) in zip(figure.subplots(2, 3).flat, OTHERS.items(), strict=True):
        bars(axes, keys)
        axes.set_title(name, fontsize=9)
    return figure


def main() -> None:
    """Draw them."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else FOLDER
    with mpl.rc_context(STYLE):
        for name, drawn in {"dirichlets": meanings(), "partitions": others()}.items():
            image = io.BytesIO()
            drawn.savefig(image, format="png", dpi=160)
            Image.open(image).convert("RGB").quantize(COLOURS).save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
