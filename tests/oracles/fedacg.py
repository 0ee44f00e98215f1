"""FedACG: Kim, Kim and Han, CVPR 2024, algorithm 1, as the authors' release carries it out.

Server sends  w̃ = w + λ m.
Client:  min F_k(v) + (β/2)‖v − w̃‖² from w̃, so d = g + β (v − w̃).
Server:  Δ = Σ_S p_k (w_k − w̃);   m ← λ m + Δ;   w ← w + m.    m = 0 at the start.

The release takes the plain mean over the cohort, and adds c ‖v − w̃‖² with c = 0.001 to the loss: β = 2c. With rho > 0
only g is taken at the perturbed point. There is no server learning rate.
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
    lam: float,
    beta: float = 0.0,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    m = torch.zeros_like(theta)
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        sent = theta + lam * m
        delta = torch.zeros_like(theta)
        for k in cohort:
            w, b = sent.clone(), torch.zeros_like(theta)
            for gradient in problem.batches(r, k):
                d = sharp(gradient, w, rho) + beta * (w - sent)
                b = momentum * b + d + weight_decay * w
                w = w - lr * b
            delta = delta + p[k] * (w - sent)
        m = lam * m + delta
        theta = theta + m
        models.append(theta.clone())
    return models
