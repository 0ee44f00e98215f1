"""How sharp the global model's minimum is, against heterogeneity: `python -m fedsam.experiments.flatness`.

The question of Caldarola et al., ECCV 2022: with the demonstration's data and model, for alpha from 0 (each client one
class) to 100 (all alike), the largest eigenvalue of the Hessian of the global training loss after the last round, and
λ1 / λ5, for FedAvg, FedSAM and FedASAM; three seeds. Some minutes on two cores.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from fedsam.cli import streams
from fedsam.experiments.digits import COMMON
from fedsam.reports.palette import COLOURS
from fedsam.run import Run
from fedsam.runs.progress import Progress
from fedsam.sweeps.compare import Comparison, compare

ALPHAS = (0.0, 0.1, 0.5, 1.0, 100.0)
METHODS: dict[str, dict[str, Any]] = {
    "FedAvg": {"client.name": "sgd"},
    "FedSAM, ρ = 0.3": {"client.name": "sam", "client.rho": 0.3},
    "FedASAM, ρ = 0.7": {"client.name": "asam", "client.rho": 0.7},
}
IMAGES = 1400  # nearly all that clients train on


def settings(out: Path, rounds: int = 150) -> dict[str, Run]:
    """A run for each method and each alpha."""
    common = {**COMMON, "rounds": rounds, "evaluate_every": rounds, "out": str(out)}
    common |= {"geometry.every": rounds, "geometry.images": IMAGES}
    return {
        f"{method}, alpha {alpha:g}": Run.from_keys({**common, **own, "data.alpha": alpha})
        for method, own in METHODS.items()
        for alpha in ALPHAS
    }


def measured(comparison: Comparison, method: str, of: str) -> np.ndarray:
    """λ1 (`of` = eigenvalues) or λ1 / λ5 (`ratio`), a row for each alpha and a column for each seed."""
    rows = []
    for alpha in ALPHAS:
        last = [records[-1]["geometry"] for records in comparison.metrics[f"{method}, alpha {alpha:g}"].values()]
        rows.append([_first(found or {}, of) for found in last])
    return np.array(rows, dtype=float)


def _first(found: dict[str, Any], of: str) -> float | None:
    """Of one run; None, and NaN in an array, where it was not measured."""
    value = found.get(of)
    return value[0] if isinstance(value, list) else value


def draw(comparison: Comparison, path: Path) -> None:
    """Both against alpha, mean and standard deviation over seeds; a PNG or SVG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2)
    places = np.arange(len(ALPHAS))
    for axes, of, label in zip(panels, ("eigenvalues", "ratio"), ("λ₁", "λ₁ / λ₅"), strict=True):
        for number, method in enumerate(METHODS):
            values = measured(comparison, method, of)
            spread = values.std(axis=1, ddof=1) if values.shape[1] > 1 else np.zeros(len(values))
            shifted = places + 0.08 * (number - 1)  # so that bars of spread do not cover each other
            axes.errorbar(
                shifted, values.mean(axis=1), spread, color=COLOURS[number], marker="o", capsize=3, label=method
            )
        axes.set_xticks(places, [f"{alpha:g}" for alpha in ALPHAS])
        axes.set_xlabel("Dirichlet alpha (0: each client one class)")
        axes.set_ylabel(label)
        axes.set_ylim(0, None)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    figure.savefig(path)


def main(out: Path, seeds: int = 3, rounds: int = 150) -> Comparison:
    """Run it all, print the table and draw the figure into `out`."""
    with Progress() as progress:
        comparison = compare(settings(out, rounds), seeds, progress)
    for method in METHODS:
        largest, ratio = measured(comparison, method, "eigenvalues"), measured(comparison, method, "ratio")
        for alpha, one, other in zip(ALPHAS, largest, ratio, strict=True):
            spread = one.std(ddof=1) if seeds > 1 else 0.0
            print(f"{method:18} alpha {alpha:<5g} λ1 {one.mean():7.2f} ± {spread:5.2f}   λ1/λ5 {other.mean():5.2f}")
    draw(comparison, out / "flatness.png")
    print(f"figure: {out / 'flatness.png'}")
    return comparison


if __name__ == "__main__":
    streams.fit()
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/flatness"))
