"""A figure of which classes each client has.

Shapes: K clients, L classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fedsam.reports.sheet import Sheet

BARS = 60  # clients; more are a heat map
NAMED = 10  # classes told apart by hue; more have the colours of a scale
LISTED = 20  # classes in a legend; more have a colour bar
# Paul Tol, "Colour schemes" (SRON technical note, 2021), muted: ten hues that the colour-blind tell apart.
MUTED = ("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499", "#BBBBBB")


def draw(counts_KL: np.ndarray, path: Path, title: str) -> None:
    """Write `sheet` as a PNG.

    Args:
        path: the file, overwritten.
    """
    sheet(counts_KL, title).savefig(path, format="png")


def sheet(counts_KL: np.ndarray, title: str) -> Sheet:
    """The label distribution of the clients.

    Up to 60 clients: a stacked bar of examples for each. More: a heat map of the share of each class in each client,
    the clients ordered by their largest class, under a profile of client sizes.

    Args:
        counts_KL: examples of each class at each client, int64.
        title: stands above, at the left.
    """
    from fedsam.reports.sheet import Sheet

    figure = Sheet(figsize=(10, 5), dpi=150, layout="constrained")
    if len(counts_KL) <= BARS:
        _bars(figure, counts_KL)
    else:
        _heat_map(figure, counts_KL)
    figure.axes[0].set_title(title, loc="left", fontsize=11)
    return figure


def _bars(figure: Any, counts_KL: np.ndarray) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    clients, classes = counts_KL.shape
    colours = list(MUTED[:classes]) if classes <= NAMED else list(colormaps["viridis"](np.linspace(0, 1, classes)))
    axes = figure.add_subplot()
    bottom_KL = np.cumsum(counts_KL, axis=1) - counts_KL
    at_K = np.arange(clients)
    for c in range(classes):
        axes.bar(at_K, counts_KL[:, c], bottom=bottom_KL[:, c], width=0.85, color=colours[c], label=str(c))
    axes.set_xlim(-0.7, clients - 0.3)
    axes.set_ylim(0, 1.03 * max(int(counts_KL.sum(axis=1).max()), 1))
    axes.set_xlabel("client")
    axes.set_ylabel("training examples")
    axes.xaxis.set_major_locator(_whole(20))
    axes.yaxis.set_major_locator(_whole(8))
    axes.spines[["top", "right"]].set_visible(False)
    if classes <= LISTED:
        axes.legend(title="class", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, reverse=True)
        return
    norm = BoundaryNorm(np.arange(classes + 1) - 0.5, classes)
    bar = figure.colorbar(ScalarMappable(norm, ListedColormap(colours)), ax=axes, spacing="proportional")
    bar.set_label("class")
    bar.set_ticks(np.arange(0, classes, -(-classes // 10)))
    bar.minorticks_off()


def _heat_map(figure: Any, counts_KL: np.ndarray) -> None:
    from matplotlib.colors import PowerNorm

    sizes_K = counts_KL.sum(axis=1)
    share_KL = counts_KL / np.maximum(sizes_K, 1)[:, None]
    order_K = np.lexsort((-share_KL.max(axis=1), share_KL.argmax(axis=1)))
    edges = np.arange(len(sizes_K) + 1) - 0.5
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 4))
    above.stairs(sizes_K[order_K], edges, fill=True, color="0.5")
    above.set_ylim(0, 1.05 * max(int(sizes_K.max()), 1))
    above.set_ylabel("training\nexamples")
    above.yaxis.set_major_locator(_whole(3))
    above.spines[["top", "right"]].set_visible(False)
    above.tick_params(axis="x", length=0)
    # The root, because many classes make every share small.
    image = below.imshow(
        100 * share_KL[order_K].T,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        cmap="Blues",
        norm=PowerNorm(0.5, vmin=0, vmax=100),
    )
    below.set_xlabel("clients, ordered by their largest class")
    below.set_ylabel("class")
    below.xaxis.set_major_locator(_whole(10))
    below.yaxis.set_major_locator(_whole(10))
    bar = figure.colorbar(image, ax=below, ticks=(0, 1, 5, 20, 50, 100))
    bar.minorticks_off()
    bar.set_label("share of the client's examples (%)")


def _whole(most: int) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=most, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)
