"""FedSMOO: Sun et al., ICML 2023, algorithm 1, with the simplified s of the released code.

Client, step by step:  g = ∇L_B(w);   ε = ρ (g − μ_i − s)/(‖g − μ_i − s‖ + 1e-16);   μ_i ← μ_i + ε − s;
                       d = ∇L_B(w + ε) + λ (w − w_sent + h_i);      after the last step  h_i ← h_i + w_i − w_sent.
Server:  w ← Σ_S p_i w_i + (1/N) Σ_all h_i;   s ← ρ mean_S(μ_i)/‖mean_S(μ_i)‖, the plain mean; 0 where that norm is 0.
Every μ_i and h_i and s are 0 at the start; the μ_i and h_i of clients not sampled stay.

λ is the paper's 1/β. As in FedSpeed (there is more said), Σ_all h_i and no server learning rate.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tests.oracles.federated import Problem, norm, shares, zeros


def run(
    problem: Problem,
    rounds: int,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    rho: float = 0.0,
    *,
    lam: float,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    s = torch.zeros_like(theta)
    mu, h = zeros(problem), zeros(problem)
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        mean = torch.zeros_like(theta)
        mean_mu = torch.zeros_like(theta)
        for i in cohort:
            w, b = theta.clone(), torch.zeros_like(theta)
            for gradient in problem.batches(r, i):
                corrected = gradient(w) - mu[i] - s
                eps = rho * corrected / (norm(corrected) + 1e-16)
                mu[i] = mu[i] + eps - s
                d = gradient(w + eps) + lam * (w - theta + h[i])
                b = momentum * b + d + weight_decay * w
                w = w - lr * b
            h[i] = h[i] + w - theta
            mean = mean + p[i] * w
            mean_mu = mean_mu + mu[i] / len(cohort)
        theta = mean
        for i in range(problem.clients):
            theta = theta + h[i] / problem.clients
        length = norm(mean_mu)
        s = rho * mean_mu / length if length > 0 else torch.zeros_like(theta)
        models.append(theta.clone())
    return models
