"""SCAFFOLD: Karimireddy et al., ICML 2020, algorithm 1, option II; FedGAMMA (Dai et al., 2023) with rho > 0.

Client:  d = g − c_i + c;   then  c_i⁺ = c_i − c + (w_sent − w_i)/(K_i lr).
Server:  w ← w + η_g Σ p_k Δ_k;   c ← c + (1/N) Σ_S (c_i⁺ − c_i).   c and every c_i are 0 at the start.

The paper takes the plain mean of the updates; here it is weighted by p_k. Every client of a round is given the same c.
FedGAMMA: g is SAM's ∇L_B(w + ε), ε made of the plain gradient; only the descent direction is corrected.
(w_sent − w_i)/(K_i lr) is taken as written whatever moved w_i: weight decay and momentum enter c_i.
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
    eta_g: float = 1.0,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    c = torch.zeros_like(theta)
    c_i = zeros(problem)
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        delta = torch.zeros_like(theta)
        change = torch.zeros_like(theta)  # Σ_S (c_i⁺ − c_i)
        for i in cohort:
            w, b = theta.clone(), torch.zeros_like(theta)
            batches = problem.batches(r, i)
            for gradient in batches:
                d = sharp(gradient, w, rho) - c_i[i] + c
                b = momentum * b + d + weight_decay * w
                w = w - lr * b
            c_plus = c_i[i] - c + (theta - w) / (len(batches) * lr)
            change = change + (c_plus - c_i[i])
            c_i[i] = c_plus
            delta = delta + p[i] * (w - theta)
        theta = theta + eta_g * delta
        c = c + change / problem.clients
        models.append(theta.clone())
    return models
