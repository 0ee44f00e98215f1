"""DP-FedSAM: Shi et al., CVPR 2023 (arXiv 2303.11242), by its clients' SAM and McMahan et al. 2018.

Client k of m, from w: SAM's steps along ∇L_B(w + ρ g / ‖g‖), Δ_k = w_k − w;
Δ̃_k = Δ_k · min(1, C / ‖Δ_k‖) + N(0, σ² C² / m);   w ← w + (1/m) Σ_k Δ̃_k.

top_k: of Δ_k all but the k numbers with the largest magnitude are 0 before it is clipped; the noise is then added to
the mean, all of it, N(0, σ² C² / m²).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tests.oracles.federated import Gradient, norm, sharp


def local(w: Tensor, batches: Sequence[Gradient], lr: float, rho: float) -> Tensor:
    """Δ_k."""
    start = w.clone()
    for gradient in batches:
        w = w - lr * sharp(gradient, w, rho)
    return w - start


def largest(delta: Tensor, k: int) -> Tensor:
    """All but the k largest numbers 0."""
    kept = sorted(range(len(delta)), key=lambda i: -abs(float(delta[i])))[:k]
    found = torch.zeros_like(delta)
    found[kept] = delta[kept]
    return found


def clipped(delta: Tensor, C: float) -> Tensor:
    """Δ · min(1, C / ‖Δ‖)."""
    return delta * min(1.0, C / norm(delta))


def round(
    w: Tensor,
    clients: Sequence[Sequence[Gradient]],
    lr: float,
    rho: float,
    C: float,
    sigma: float,
    noises: Sequence[Tensor],
) -> Tensor:
    """The next model; `noises` standard normal, a vector for each client."""
    m, total = len(clients), torch.zeros_like(w)
    for batches, noise in zip(clients, noises, strict=True):
        total = total + clipped(local(w, batches, lr, rho), C) + sigma * C / math.sqrt(m) * noise
    return w + total / m


def sparse_round(
    w: Tensor,
    clients: Sequence[Sequence[Gradient]],
    lr: float,
    rho: float,
    C: float,
    sigma: float,
    k: int,
    noise: Tensor,
) -> Tensor:
    """The same of top_k; `noise` standard normal, one vector."""
    m, total = len(clients), sigma * C * noise
    for batches in clients:
        total = total + clipped(largest(local(w, batches, lr, rho), k), C)
    return w + total / m
