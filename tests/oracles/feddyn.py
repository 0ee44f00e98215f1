"""FedDyn: Acar et al., ICLR 2021, algorithm 1, the local problem solved by SGD.

Client:  d = g − h_i + α (w − w_sent);   then  h_i ← h_i − α (w_i − w_sent).     (h_i: the paper's ∇L_i(θ_i))
Server:  h ← h − α (1/N) Σ_S (w_i − w_sent);   w ← Σ p_i w_i − h/α.              h and every h_i are 0 at the start.

The paper takes the plain mean of the models; here it is weighted by p_i. There is no server learning rate. With rho > 0
only g is taken at the perturbed point.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tests.oracles.federated import Problem, shares, sharp, zeros


def run(
    problem: Problem,
    rounds: int,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    rho: float = 0.0,
    *,
    alpha: float,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    h = torch.zeros_like(theta)
    h_i = zeros(problem)
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        mean = torch.zeros_like(theta)  # Σ p_i w_i
        moved = torch.zeros_like(theta)  # Σ_S (w_i − w_sent)
        for i in cohort:
            w, b = theta.clone(), torch.zeros_like(theta)
            for gradient in problem.batches(r, i):
                d = sharp(gradient, w, rho) - h_i[i] + alpha * (w - theta)
                b = momentum * b + d + weight_decay * w
                w = w - lr * b
            h_i[i] = h_i[i] - alpha * (w - theta)
            mean = mean + p[i] * w
            moved = moved + (w - theta)
        h = h - alpha * moved / problem.clients
        theta = mean - h / alpha
        models.append(theta.clone())
    return models
