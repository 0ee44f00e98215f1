"""How the weights of a model's first layer are distributed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedsam.flatness.loaded_run import LoadedRun
from fedsam.reproduce.measurements import Measure


@dataclass(frozen=True)
class FirstLayer(Measure):
    """A histogram of the weights w of the first layer, and how heavy its tails are. With n weights of mean w̄,

        m_k = 1/n Σ (w − w̄)^k,   s = √m_2,   excess kurtosis = m_4 / m_2² − 3,

    which is 0 for a normal distribution and −1.2 for a uniform one (Fisher's g₂). The histogram is of z = (w − w̄) / s:
    a density over bins of equal width from −`reach` to `reach`; what lies beyond counts in the last bin on its side.

    Args:
        bins: of the histogram.
        reach: of the histogram, in standard deviations.
    """

    bins: int = 40
    reach: float = 5.0

    def of(self, loaded: LoadedRun, others: Sequence[LoadedRun]) -> dict[str, Any]:
        """`z` (middles of the bins), `density`, `std`, `kurtosis`, `largest` (max |z|) and `weights` (n)."""
        layout = loaded.context.layout
        name = next(name for name in layout.names if "weight" in name)
        return self.measured(layout.views(loaded.served.theta_P)[name].double().cpu().numpy().ravel())

    def measured(self, weights: np.ndarray) -> dict[str, Any]:
        """The same of any weights."""
        std = float(np.std(weights))
        z = (weights - np.mean(weights)) / std
        edges = np.linspace(-self.reach, self.reach, self.bins + 1)
        inside = np.clip(z, edges[0], edges[-1])
        return {
            "z": ((edges[:-1] + edges[1:]) / 2).tolist(),
            "density": np.histogram(inside, edges, density=True)[0].tolist(),
            "std": std,
            "kurtosis": float(np.mean(z**4)) - 3.0,
            "largest": float(np.max(np.abs(z))),
            "weights": len(weights),
        }
