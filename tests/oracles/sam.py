"""SAM: Foret et al., ICLR 2021, algorithm 1; in federated form Caldarola et al., ECCV 2022.

g = ∇L_B(w);  ε = ρ g / (‖g‖₂ + 1e-16);  the base optimiser steps from w along ∇L_B(w + ε), the same mini-batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

Gradients = Callable[[list[Tensor]], list[Tensor]]


def epsilon(gradients: list[Tensor], rho: float) -> list[Tensor]:
    """ρ g / (‖g‖₂ + 1e-16), the norm over all tensors together."""
    squares = 0.0
    for g in gradients:
        squares += float((g * g).sum())
    return [rho * g / (math.sqrt(squares) + 1e-16) for g in gradients]


def sharp_gradients(weights: list[Tensor], gradients_at: Gradients, rho: float) -> list[Tensor]:
    """∇L_B(w + ε), what the base optimiser is given."""
    eps = epsilon(gradients_at(weights), rho)
    return gradients_at([w + e for w, e in zip(weights, eps, strict=True)])
