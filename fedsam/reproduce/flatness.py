"""The largest eigenvalues of a run's Hessian, and the loss around its model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fedsam.flatness.directions import random_direction
from fedsam.flatness.loaded_run import LoadedRun
from fedsam.flatness.spectrum import Eigen, top_eigenvalues
from fedsam.flatness.surface import plane
from fedsam.reproduce.figures import Panel
from fedsam.reproduce.measurements import Measure


@dataclass(frozen=True)
class Eigenvalues(Measure):
    """λ₁ ≥ ... ≥ λ_k of the Hessian of the loss on so many training images."""

    images: int = 1000
    k: int = 5
    tolerance: float = 1e-3

    def of(self, loaded: LoadedRun, others: Sequence[LoadedRun]) -> list[float]:
        """All k."""
        landscape = loaded.landscape(self.images, loaded.served)
        return top_eigenvalues(landscape, loaded.served.theta_P, self.k, self.tolerance, loaded.run.seed).values


def ratio(values: Sequence[float]) -> float:
    """λ₁ / λ₅ of `Eigenvalues`; not a number where λ₅ is missing or not above 0."""
    found = Eigen(list(values), [], torch.empty(0, 0)).ratio
    return math.nan if found is None else found


@dataclass(frozen=True)
class Surface(Measure):
    """L(w + x d₁ + y d₂) for x and y from −half_width to half_width, with d₁ and d₂ Gaussian, normalised filter by
    filter and keyed by the run's seed (Li et al., NeurIPS 2018): the lengths on the axes are relative to the weights'
    own, so that surfaces of models of different scale can be compared.

    Args:
        points: along each axis; an odd number, so that w is one.
    """

    images: int = 1000
    points: int = 21
    half_width: float = 1.0

    def of(self, loaded: LoadedRun, others: Sequence[LoadedRun]) -> dict[str, Any]:
        """`x`, `y`, and `loss` as rows of y."""
        layout, theta_P, seed = loaded.context.layout, loaded.served.theta_P, loaded.run.seed
        axes = [random_direction(layout, theta_P, seed, number) for number in range(2)]
        landscape = loaded.landscape(self.images, loaded.served)
        found = plane(landscape, theta_P, axes[0], axes[1], self.points, self.half_width)
        return {"x": found.x, "y": found.y, "loss": found.loss}


def rise(surface: Mapping[str, Any]) -> float:
    """The mean loss over a surface, less that in its middle, the model's own."""
    loss = np.array(surface["loss"])
    return float(loss.mean() - loss[tuple(np.array(loss.shape) // 2)])


@dataclass(frozen=True)
class Contours(Panel):
    """Contours over a plane, of the mean over seeds; lines are the rows, each labelled by its y."""

    most: float | None = None
    """The highest contour; None = the highest value."""

    @classmethod
    def of(cls, title: str, surfaces: Sequence[Mapping[str, Any]], most: float | None = None) -> Contours:
        """Of a surface for each seed."""
        x, y = surfaces[0]["x"], surfaces[0]["y"]
        lines = {f"{title}, y = {at:g}": (x, [one["loss"][n] for one in surfaces]) for n, at in enumerate(y)}
        return cls("first direction", f"{title}: second direction", lines, most=most)

    def draw(self, axes: Any) -> None:
        """Lines of equal height."""
        rows = [np.mean(values, axis=0) for _, values in self.lines.values()]
        x = next(iter(self.lines.values()))[0]
        y = [float(label.rpartition(" ")[2]) for label in self.lines]
        top = self.most if self.most is not None else float(np.max(rows))
        levels = np.linspace(0.0, top, 16)
        drawn = axes.contourf(x, y, rows, levels=levels, cmap="viridis", extend="max")
        axes.figure.colorbar(drawn, ax=axes, label="training loss")
        axes.set_xlabel(self.x)
        axes.set_ylabel(self.y)
        axes.set_aspect("equal")
