"""FedProx: Li et al., MLSys 2020, algorithm 2, the local problem solved by SGD.

Client: min F_k(w) + (μ/2)‖w − w_sent‖², so d = g + μ (w − w_sent);   server: w ← w + η_g Σ p_k Δ_k.

The paper samples the clients by p_k and takes their plain mean; here they are weighted by p_k. With rho > 0 only g is
taken at the perturbed point, the proximal term at w.
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
    mu: float,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        delta = torch.zeros_like(theta)
        for k in cohort:
            w, b = theta.clone(), torch.zeros_like(theta)
            for gradient in problem.batches(r, k):
                d = sharp(gradient, w, rho) + mu * (w - theta)
                b = momentum * b + d + weight_decay * w
                w = w - lr * b
            delta = delta + p[k] * (w - theta)
        theta = theta + eta_g * delta
        models.append(theta.clone())
    return models
