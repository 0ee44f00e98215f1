"""FedAvgM: Hsu, Qi and Brown, arXiv 1909.06335 (2019), section 4.3.

Δ = Σ p_k Δ_k;   v ← β v + Δ;   w ← w + η_g v;   v = 0 at the start.

The paper writes it with Δ of the other sign, w ← w − v. No dampening, no Nesterov step.
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
    eta_g: float = 1.0,
    *,
    beta: float = 0.9,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    v = torch.zeros_like(theta)
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        delta = torch.zeros_like(theta)
        for k in cohort:
            w, b = theta.clone(), torch.zeros_like(theta)
            for gradient in problem.batches(r, k):
                d = sharp(gradient, w, rho)
                b = momentum * b + d + weight_decay * w
                w = w - lr * b
            delta = delta + p[k] * (w - theta)
        v = beta * v + delta
        theta = theta + eta_g * v
        models.append(theta.clone())
    return models
