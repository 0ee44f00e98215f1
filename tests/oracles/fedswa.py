"""FedSWA: Liu et al., ICML 2025 (arXiv 2507.20016), algorithm 1.

Client, step k from 0 of its K:  lr_k = lr (1 − k/K) + (k/K) ρ_lr lr.   Server:  w ← w + α Σ p_i Δ_i.

The rate starts at lr in every round and would reach ρ_lr lr at step K, which is not taken. The paper takes the plain
mean of the models; here it is weighted by p_i. `rho` is SAM's radius, as everywhere; the paper's ρ is `rho_lr`.
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
    rho_lr: float = 0.1,
    alpha: float = 1.5,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        delta = torch.zeros_like(theta)
        for i in cohort:
            w, b = theta.clone(), torch.zeros_like(theta)
            batches = problem.batches(r, i)
            K = len(batches)
            for k in range(K):
                lr_k = lr * (1 - k / K) + (k / K) * rho_lr * lr
                d = sharp(batches[k], w, rho)
                b = momentum * b + d + weight_decay * w
                w = w - lr_k * b
            delta = delta + p[i] * (w - theta)
        theta = theta + alpha * delta
        models.append(theta.clone())
    return models
