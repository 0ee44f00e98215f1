"""FedMoSWA: Liu et al., ICML 2025 (arXiv 2507.20016), algorithm 2.

Client, step k from 0 of its K:  lr_k = lr (1 − k/K) + (k/K) ρ_lr lr;   d = g − c_i + m;
then  c_i⁺ = c_i − m + (w_sent − w_i)/Σ_k lr_k.
Server:  m ← m + γ (1/|S|) Σ_S (c_i⁺ − m), the m the clients were sent;   w ← w + α Σ p_i Δ_i.
m and every c_i are 0 at the start.

The mean of c_i⁺ − m is over the sampled clients, plain, not over N. The paper takes the plain mean of the models; here
it is weighted by p_i.
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
    rho_lr: float = 0.1,
    alpha: float = 1.5,
    gamma: float = 0.2,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    m = torch.zeros_like(theta)
    c_i = zeros(problem)
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        delta = torch.zeros_like(theta)
        change = torch.zeros_like(theta)  # Σ_S (c_i⁺ − m)
        for i in cohort:
            w, b = theta.clone(), torch.zeros_like(theta)
            batches = problem.batches(r, i)
            K = len(batches)
            lr_sum = 0.0
            for k in range(K):
                lr_k = lr * (1 - k / K) + (k / K) * rho_lr * lr
                lr_sum += lr_k
                d = sharp(batches[k], w, rho) - c_i[i] + m
                b = momentum * b + d + weight_decay * w
                w = w - lr_k * b
            c_i[i] = c_i[i] - m + (theta - w) / lr_sum
            change = change + (c_i[i] - m)
            delta = delta + p[i] * (w - theta)
        m = m + gamma * change / len(cohort)
        theta = theta + alpha * delta
        models.append(theta.clone())
    return models
