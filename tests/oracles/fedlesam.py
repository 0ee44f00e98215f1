"""FedLESAM, FedLESAM-S, FedLESAM-D: Fan et al., ICML 2024, algorithm 1.

Client:  ε = ρ (w_prev − w_sent)/(‖w_prev − w_sent‖ + 1e-16), the same for all its steps; w_prev is the global model
this client was sent at its previous participation, ε = 0 at its first.  g = ∇L_B(w + ε), one gradient per step.

    plain      d = g                         server  w ← w + η_g Σ p_k Δ_k
    scaffold   d = g − c_i + c               SCAFFOLD's c_i, c and server (-S)
    dual       d = g − h_i + α (w − w_sent)  FedDyn's h_i, h and server (-D); no server learning rate

As published, w_prev is kept per client (the released code takes the last round's update for all).
"""

from __future__ import annotations

from typing import Literal

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
    eta_g: float = 1.0,
    *,
    variant: Literal["plain", "scaffold", "dual"] = "plain",
    alpha: float = 0.1,
) -> list[Tensor]:
    """The global model after each round; `alpha` is of the dual variant, `eta_g` of the two others."""
    theta = problem.theta.clone()
    previous: dict[int, Tensor] = {}
    c, c_i = torch.zeros_like(theta), zeros(problem)
    h, h_i = torch.zeros_like(theta), zeros(problem)
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        delta = torch.zeros_like(theta)
        change = torch.zeros_like(theta)  # Σ_S (c_i⁺ − c_i)
        moved = torch.zeros_like(theta)  # Σ_S (w_i − w_sent)
        for i in cohort:
            eps = torch.zeros_like(theta)
            if i in previous:
                direction = previous[i] - theta
                eps = rho * direction / (norm(direction) + 1e-16)
            previous[i] = theta.clone()

            w, b = theta.clone(), torch.zeros_like(theta)
            batches = problem.batches(r, i)
            for gradient in batches:
                d = gradient(w + eps)
                if variant == "scaffold":
                    d = d - c_i[i] + c
                elif variant == "dual":
                    d = d - h_i[i] + alpha * (w - theta)
                b = momentum * b + d + weight_decay * w
                w = w - lr * b

            if variant == "scaffold":
                c_plus = c_i[i] - c + (theta - w) / (len(batches) * lr)
                change = change + (c_plus - c_i[i])
                c_i[i] = c_plus
            elif variant == "dual":
                h_i[i] = h_i[i] - alpha * (w - theta)
            delta = delta + p[i] * (w - theta)
            moved = moved + (w - theta)

        if variant == "dual":
            h = h - alpha * moved / problem.clients
            theta = theta + delta - h / alpha
        else:
            theta = theta + eta_g * delta
            c = c + change / problem.clients
        models.append(theta.clone())
    return models
