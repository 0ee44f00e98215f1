"""FedExP: Jhunjhunwala, Wang and Joshi, ICLR 2023, algorithm 1.

Δ̄ = Σ p_k Δ_k;   η_g = max(1, Σ p_k ‖Δ_k‖² / (2 (‖Δ̄‖² + ε)));   w ← w + η_g Δ̄.

The paper writes it with p_k = 1/M; the weights are the release's, which in the place of ε has |S| times an ε that falls
with the square of the clients' learning rate. The models given back are the w; the paper evaluates the mean of the last
two.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tests.oracles.federated import Problem, norm, shares, sharp


def run(
    problem: Problem,
    rounds: int,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    rho: float = 0.0,
    *,
    epsilon: float,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        mean = torch.zeros_like(theta)
        squares = 0.0
        for k in cohort:
            w, b = theta.clone(), torch.zeros_like(theta)
            for gradient in problem.batches(r, k):
                b = momentum * b + sharp(gradient, w, rho) + weight_decay * w
                w = w - lr * b
            mean = mean + p[k] * (w - theta)
            squares = squares + p[k] * norm(w - theta) ** 2
        eta_g = max(1.0, squares / (2 * (norm(mean) ** 2 + epsilon)))
        theta = theta + eta_g * mean
        models.append(theta.clone())
    return models
