"""FedCM: Xu et al., arXiv 2106.10874 (2021), algorithm 2; MoFedSAM (Qu et al., ICML 2022, algorithm 2) with rho > 0.

Client:  d = α g + (1 − α) D.
Server:  D ← − Σ p_k Δ_k / (K_k lr);   w ← w + η_g Σ p_k Δ_k.   D = 0 at the start, so the first round's steps are α g.

D is the last round's mean descent direction per local step, each client's over its own K_k. The papers step along D,
x ← x − η_g D, which with equal K_k is this with η_g K lr for η_g; with unequal K_k the two differ, and the step here is
along the mean update. The papers take plain means; here they are weighted by p_k. MoFedSAM: g is SAM's ∇L_B(w + ε), ε
made of the plain gradient. Weight decay enters D as it enters Δ_k.
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
    alpha: float,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    D = torch.zeros_like(theta)
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        delta = torch.zeros_like(theta)
        D_next = torch.zeros_like(theta)
        for k in cohort:
            w, b = theta.clone(), torch.zeros_like(theta)
            batches = problem.batches(r, k)
            for gradient in batches:
                d = alpha * sharp(gradient, w, rho) + (1 - alpha) * D
                b = momentum * b + d + weight_decay * w
                w = w - lr * b
            delta = delta + p[k] * (w - theta)
            D_next = D_next - p[k] * (w - theta) / (len(batches) * lr)
        theta = theta + eta_g * delta
        D = D_next
        models.append(theta.clone())
    return models
