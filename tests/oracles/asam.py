"""ASAM: Kwon et al., ICML 2021, equations 4 and 5.

ε = ρ T_w² g / (‖T_w g‖₂ + 1e-16), g = ∇L_B(w); the base optimiser steps from w along ∇L_B(w + ε).

scaling "weights": T_w = |w| + η on tensors whose name contains "weight", 1 on the others (the authors' code);
scaling "all":     T_w = |w| on every tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Gradients = Callable[[list[Tensor]], list[Tensor]]


def scale(names: list[str], weights: list[Tensor], scaling: str, eta: float) -> list[Tensor]:
    """The diagonal of T_w, tensor by tensor."""
    found = []
    for name, w in zip(names, weights, strict=True):
        if scaling == "all":
            found.append(w.abs())
        elif "weight" in name:
            found.append(w.abs() + eta)
        else:
            found.append(torch.ones_like(w))
    return found


def epsilon(t: list[Tensor], gradients: list[Tensor], rho: float) -> list[Tensor]:
    """ρ T² g / (‖T g‖₂ + 1e-16), the norm over all tensors together."""
    squares = 0.0
    for t_w, g in zip(t, gradients, strict=True):
        squares += float(((t_w * g) ** 2).sum())
    return [rho * t_w * t_w * g / (math.sqrt(squares) + 1e-16) for t_w, g in zip(t, gradients, strict=True)]


def sharp_gradients(
    names: list[str], weights: list[Tensor], gradients_at: Gradients, rho: float, scaling: str, eta: float
) -> list[Tensor]:
    """∇L_B(w + ε), what the base optimiser is given."""
    eps = epsilon(scale(names, weights, scaling, eta), gradients_at(weights), rho)
    return gradients_at([w + e for w, e in zip(weights, eps, strict=True)])
