"""FedSpeed: Sun et al., ICLR 2023, algorithm 1.

Client:  d = ∇L_B(w + ε) + λ (w − w_sent + h_i),  ε = ρ g/(‖g‖ + 1e-16);   then  h_i ← h_i + w_i − w_sent.
Server:  w ← Σ_S p_i w_i + (1/N) Σ_all h_i, the h_i as this round left them.   Every h_i is 0 at the start.

Here λ is the paper's 1/λ and h_i its −λ ĝ_i. The paper mixes (1 − α) g + α ∇L_B(w + ε); this is α = 1, as released. Its
server takes the mean over S of w_i − λ ĝ_i, so S's amendments only; here, as released, the models are averaged over S
(weighted by p_i) and the h_i over all clients. There is no server learning rate.
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
    lam: float,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    h = zeros(problem)
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        mean = torch.zeros_like(theta)
        for i in cohort:
            w, b = theta.clone(), torch.zeros_like(theta)
            for gradient in problem.batches(r, i):
                d = sharp(gradient, w, rho) + lam * (w - theta + h[i])
                b = momentum * b + d + weight_decay * w
                w = w - lr * b
            h[i] = h[i] + w - theta
            mean = mean + p[i] * w
        theta = mean
        for i in range(problem.clients):
            theta = theta + h[i] / problem.clients
        models.append(theta.clone())
    return models
