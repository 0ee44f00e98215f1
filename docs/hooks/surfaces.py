"""`python docs/hooks/surfaces.py` draws docs/results/cifar10-surfaces.png from docs/results/cifar10/surfaces.json, the
`surface` of two runs' geometry.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

RESULTS = Path(__file__).parents[1] / "results"


def picture() -> Figure:
    """Both surfaces, with the same axis of the loss."""
    found = json.loads((RESULTS / "cifar10" / "surfaces.json").read_text(encoding="utf-8"))
    top = max(np.max(one["loss"]) for one in found.values())
    figure = Figure(figsize=(9, 4), layout="constrained")
    for number, (name, one) in enumerate(found.items(), 1):
        axes: Any = figure.add_subplot(1, len(found), number, projection="3d")
        axes.plot_surface(*np.meshgrid(one["x"], one["y"]), np.array(one["loss"]), cmap="viridis", vmin=0, vmax=top)
        axes.set(
            xticks=[-1, 0, 1],
            yticks=[-1, 0, 1],
            zlim=(0, top),
            title=name,
            xlabel="first direction",
            ylabel="second direction",
            zlabel="loss (nats)",
        )
    return figure


if __name__ == "__main__":
    with mpl.rc_context({"font.size": 8}):
        picture().savefig(RESULTS / "cifar10-surfaces.png", dpi=130)
