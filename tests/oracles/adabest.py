"""AdaBest: Varno et al., ECCV 2022, algorithm 1.

Client:  d = g − h_i;   then  h_i ← h_i/(t − t_i) + μ (w_sent − w_i), t this round, t_i the last in which i took part.
Server:  w̄ ← Σ p_i w_i;   h = β (w̄_previous − w̄);   w ← w̄ − h.      w̄ = w and every h_i = 0 at the start.

The paper takes the plain mean of the models; here it is weighted by p_i. The authors' later release keeps h_i without
the μ and multiplies by μ E n̄/n_i where it is used, n̄ the clients' mean of n/K: of equal clients by μ E/K.
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
    mu: float,
    beta: float,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    mean = theta.clone()
    h_i, last = zeros(problem), dict[int, int]()
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        new_mean = torch.zeros_like(theta)
        for i in cohort:
            w, b = theta.clone(), torch.zeros_like(theta)
            for gradient in problem.batches(r, i):
                d = sharp(gradient, w, rho) - h_i[i]
                b = momentum * b + d + weight_decay * w
                w = w - lr * b
            pseudo = theta - w
            if i in last:
                h_i[i] = h_i[i] / (r - last[i]) + mu * pseudo
            else:
                h_i[i] = mu * pseudo
            last[i] = r
            new_mean = new_mean + p[i] * w
        h = beta * (mean - new_mean)
        mean = new_mean
        theta = mean - h
        models.append(theta.clone())
    return models
