"""Directions in the space of parameters.

Shapes: P parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.flatness.draws import normal
from fedsam.params import Layout


def filter_normalised(layout: Layout, theta_P: Tensor, direction_P: Tensor, vectors: bool = False) -> Tensor:
    """d_ij ← d_ij / ‖d_ij‖₂ · ‖θ_ij‖₂ for filter j of each tensor i, [P] (Li et al., NeurIPS 2018, section 4).

    A filter is what makes one output: all numbers with one index of the first axis. Tensors with fewer than two axes
    (biases, parameters of normalisation) are left out of the direction, as by the authors' code.

    Args:
        vectors: keep these tensors instead, each scaled as one filter.
    """
    weights = layout.views(theta_P)
    parts = []
    for name, drawn in layout.views(direction_P).items():
        if drawn.dim() < 2 and not vectors:
            parts.append(torch.zeros_like(drawn).reshape(-1))
            continue
        rows = drawn.shape[0] if drawn.dim() > 1 else 1
        drawn_FN, weight_FN = drawn.reshape(rows, -1), weights[name].reshape(rows, -1)
        length_F1 = torch.linalg.vector_norm(drawn_FN, dim=1, keepdim=True)
        wanted_F1 = torch.linalg.vector_norm(weight_FN, dim=1, keepdim=True)
        parts.append((drawn_FN * torch.where(length_F1 > 0, wanted_F1 / length_F1, 0.0)).reshape(-1))
    return torch.cat(parts)


def random_direction(layout: Layout, theta_P: Tensor, seed: int, number: int = 0, vectors: bool = False) -> Tensor:
    """A filter-normalised Gaussian direction, [P], keyed by `seed` and `number`."""
    return filter_normalised(layout, theta_P, normal(theta_P, seed, "surface direction", number), vectors)
