"""FedGF: Lee and Yoon, ICML 2024, from the authors' release.

Server sends  w, the globally perturbed w_g = w + ρ_g Δ/‖Δ‖ with Δ = (old w) − (new w) of the previous round, and c; in
the first round there is no w_g and c = 0.
Client, at v:  v_l = v + ρ g/‖g‖;   g' = ∇L_B(c w_g + (1 − c) v_l), the same mini-batch;   v ← v − lr g'.
Server:  w ← w + Σ p_k Δ_k;   D = the plain mean of ‖Δ_k‖ over the cohort;   c = the share of the last W rounds (of all
there were, if fewer) with D > T_D.

w_g is one point for the whole round, while v moves. D is of the round just ended and of the model that was sent.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tests.oracles.federated import Problem, norm, shares


def run(
    problem: Problem,
    rounds: int,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    rho: float = 0.0,
    *,
    rho_g: float,
    threshold: float,
    window: int = 30,
) -> list[Tensor]:
    """The global model after each round; `rho` is the clients' radius."""
    theta = problem.theta.clone()
    perturbed: Tensor | None = None
    c = 0.0
    exceeded: list[int] = []
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        delta = torch.zeros_like(theta)
        divergence = 0.0
        for k in cohort:
            w, b = theta.clone(), torch.zeros_like(theta)
            for gradient in problem.batches(r, k):
                g = gradient(w)
                at = w + rho * g / (norm(g) + 1e-16)
                if perturbed is not None:
                    at = c * perturbed + (1 - c) * at
                b = momentum * b + gradient(at) + weight_decay * w
                w = w - lr * b
            delta = delta + p[k] * (w - theta)
            divergence = divergence + norm(w - theta) / len(cohort)
        exceeded.append(int(divergence > threshold))
        last = exceeded[-window:]
        c = sum(last) / len(last)
        new = theta + delta
        perturbed = new + rho_g * (theta - new) / norm(theta - new)
        theta = new
        models.append(theta.clone())
    return models
