"""FedNSAM: Liu et al., 2026 (arXiv 2602.23827): global Nesterov momentum, and SAM at the extrapolated point.

Client:  from w + γ m, steps of SAM with radius ρ, its ascent along the mini-batch's gradient;
         Δ_k = w_k − (w + γ m).
Server:  m ← γ m + Σ p_k Δ_k;   w ← w + m.    m = 0 at the start.

The release (`accumulate` False) writes m = γ v + Δ̄ with v from Δ̄ itself: m = Δ̄ in the first round, (1 + γ) Δ̄ in
every later one. It takes the plain mean of the Δ_k.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tests.oracles.federated import Problem, shares, sharp


def run(
    problem: Problem,
    rounds: int,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    rho: float = 0.0,
    *,
    gamma: float,
    accumulate: bool = True,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    m = torch.zeros_like(theta)
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        start = theta + gamma * m
        mean = torch.zeros_like(theta)
        for k in cohort:
            w, b = start.clone(), torch.zeros_like(theta)
            for gradient in problem.batches(r, k):
                b = momentum * b + sharp(gradient, w, rho) + weight_decay * w
                w = w - lr * b
            mean = mean + p[k] * (w - start)
        if accumulate:
            m = gamma * m + mean
        elif r == 0:
            m = mean
        else:
            m = gamma * mean + mean
        theta = theta + m
        models.append(theta.clone())
    return models
