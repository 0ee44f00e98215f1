"""FedPer: Arivazhagan, Aggarwal, Singh and Choudhary 2019 (arXiv 1912.00818), algorithms 1 and 2.

The model is base layers W_B and personal layers W_Pj. The server sends W_B; client j takes its local steps on
(W_B, W_Pj), keeps its new W_Pj and sends its new W_B; the server takes the mean of what came, weighted by examples:

    (W_{B,j}, W_Pj) ← SGD_j(W_B, W_Pj);   W_B ← W_B + η_g Σ γ_j (W_{B,j} − W_B)

All clients begin with the same personal layers, which in the model returned here never change.
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
    personal: slice,
) -> list[Tensor]:
    """The shared layers after each round, with the initial personal ones.

    Args:
        personal: where in θ the personal layers lie.
    """
    theta = problem.theta.clone()
    head = {j: theta[personal].clone() for j in range(problem.clients)}
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        gamma = shares(problem, cohort)
        change = torch.zeros_like(theta)
        for j in cohort:
            w, b = theta.clone(), torch.zeros_like(theta)
            w[personal] = head[j]
            for gradient in problem.batches(r, j):
                b = momentum * b + sharp(gradient, w, rho) + weight_decay * w
                w = w - lr * b
            head[j] = w[personal].clone()
            moved = w - theta
            moved[personal] = 0.0
            change = change + gamma[j] * moved
        theta = theta + eta_g * change
        models.append(theta.clone())
    return models
