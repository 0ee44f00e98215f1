"""The loss along lines and over planes. No gradients are taken.

A model with batch normalisation keeps the statistics of its landscape all over a line or plane; they are not estimated
anew at each point.

Shapes: P parameters, G points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedsam.errors import RunError
from fedsam.flatness.landscape import Landscape

MARGIN = 0.25
CHECKED = 9
"""Points of a plane in bf16 that are evaluated in full precision, too."""


@dataclass(frozen=True)
class Line:
    """Loss and headline metric along a line.

    Args:
        t: the position, in lengths of the direction.
    """

    t: list[float]
    loss: list[float]
    value: list[float]


@dataclass(frozen=True)
class Span:
    """A plane: the points origin + x · right + y · up."""

    origin_P: Tensor
    right_P: Tensor
    up_P: Tensor

    def at(self, x: float, y: float) -> Tensor:
        """The point at these coordinates, [P]."""
        return self.origin_P + x * self.right_P + y * self.up_P


@dataclass(frozen=True)
class Plane:
    """Loss and headline metric over a plane, as rows of y and columns of x.

    Args:
        points: coordinates of the points by which the plane was chosen.
        error: of losses in bf16, the largest relative one at some of the points; None = in full precision.
    """

    x: list[float]
    y: list[float]
    loss: list[list[float]]
    value: list[list[float]]
    points: list[tuple[float, float]]
    span: Span
    error: float | None = None


def line(landscape: Landscape, theta_P: Tensor, direction_P: Tensor, points: Sequence[float]) -> Line:
    """L(θ + t d) at each of these t."""
    t = [float(at) for at in points]
    return Line(t, *_evaluated(landscape, lambda n: theta_P + t[n] * direction_P, len(t)))


def between(landscape: Landscape, a_P: Tensor, b_P: Tensor, n: int = 25, margin: float = MARGIN) -> Line:
    """L((1 − t) a + t b), exactly a at 0 and b at 1: linear interpolation (Goodfellow et al., ICLR 2015).

    Args:
        n: values of t, from −margin to 1 + margin; the default ones pass through both ends.
    """
    t: list[float] = np.linspace(-margin, 1 + margin, n).tolist()
    return Line(t, *_evaluated(landscape, lambda at: torch.lerp(a_P, b_P, t[at]), n))


def plane(
    landscape: Landscape,
    theta_P: Tensor,
    right_P: Tensor,
    up_P: Tensor,
    n: int = 21,
    half_width: float = 1.0,
    bf16: bool = False,
) -> Plane:
    """L(θ + x d₁ + y d₂) for x and y from −half_width to half_width (Li et al., NeurIPS 2018, eq. 1).

    Args:
        right_P, up_P: d₁ and d₂, for example from `random_direction`.
        n: points along each axis; with an odd number θ itself is one.
        bf16: whether the passes are in bf16, as with `torch.autocast`; the error is told.
    """
    steps = (half_width * (2 * np.arange(n) - (n - 1)) / max(n - 1, 1)).tolist()
    return _over(landscape, Span(theta_P, right_P, up_P), steps, steps, [(0.0, 0.0)], bf16)


def through(
    landscape: Landscape,
    a_P: Tensor,
    b_P: Tensor,
    c_P: Tensor,
    n: int = 21,
    margin: float = MARGIN,
    bf16: bool = False,
) -> Plane:
    """The loss over the plane through three points, in lengths of the parameter space: from a, the first axis towards
    b, the second the rest of c − a, made orthogonal and of length 1 by Gram and Schmidt's method (Izmailov et al.,
    UAI 2018; Garipov et al., NeurIPS 2018).

    Args:
        margin: around the smallest rectangle that holds the three, as a share of its sides.
        bf16: as for `plane`.

    Raises:
        RunError: the three lie on one line.
    """
    right_P, away_P = b_P - a_P, c_P - a_P
    width = float(torch.linalg.vector_norm(right_P))
    right_P = right_P / (width or 1.0)
    across = float(torch.dot(right_P, away_P))
    up_P = away_P - across * right_P
    up_P = up_P - torch.dot(right_P, up_P) * right_P  # what rounding has left
    height = float(torch.linalg.vector_norm(up_P))
    if not width or height <= 1e-6 * float(torch.linalg.vector_norm(away_P)):
        raise RunError("the three models lie on one line, so that no one plane goes through them")
    points = [(0.0, 0.0), (width, 0.0), (across, height)]
    x, y = (_axis(at, n, margin) for at in zip(*points, strict=True))
    return _over(landscape, Span(a_P, right_P, up_P / height), x, y, points, bf16)


def _axis(at: Sequence[float], n: int, margin: float) -> list[float]:
    room = margin * (max(at) - min(at))
    positions: list[float] = np.linspace(min(at) - room, max(at) + room, n).tolist()
    return positions


def _over(
    landscape: Landscape, span: Span, x: list[float], y: list[float], points: list[tuple[float, float]], bf16: bool
) -> Plane:
    columns, count = len(x), len(x) * len(y)

    def at(n: int) -> Tensor:
        return span.at(x[n % columns], y[n // columns])

    error = None
    with torch.autocast(span.origin_P.device.type, dtype=torch.bfloat16, enabled=bf16):
        loss, value = _evaluated(landscape, at, count)
    if bf16:
        some = sorted({round(share * (count - 1)) for share in np.linspace(0, 1, CHECKED)})
        exact, _ = _evaluated(landscape, lambda n: at(some[n]), len(some))
        error = max(abs(loss[n] - own) / abs(own) if own else 0.0 for n, own in zip(some, exact, strict=True))
    rows = range(0, count, columns)
    losses, values = ([each[r : r + columns] for r in rows] for each in (loss, value))
    return Plane(x, y, losses, values, points, span, error)


def _evaluated(landscape: Landscape, at: Callable[[int], Tensor], count: int) -> tuple[list[float], list[float]]:
    """Loss and headline metric at `count` points, some at once where that pays."""
    loss: list[float] = []
    value: list[float] = []
    for begin in range(0, count, landscape.together):
        theta_GP = torch.stack([at(n) for n in range(begin, min(begin + landscape.together, count))])
        loss_G, value_G = landscape.losses_and_values(theta_GP)
        loss += loss_G.tolist()
        value += value_G.tolist()
    return loss, value
