"""FedNova: Wang et al., NeurIPS 2020, section 4, with SGD, with or without momentum, at the clients.

Client k takes τ_k steps; its change is −η G_k a_k, column s of G_k the gradient of step s, a_k how often that gradient
counts in w_k: 1 with plain SGD; with momentum μ the buffer of step t holds μ^(t−s) of it, so a_s = Σ_{t≥s} μ^(t−s).

    d_k = G_k a_k/‖a_k‖₁ = −Δ_k/(η ‖a_k‖₁);   τ_eff = Σ p_k ‖a_k‖₁;   w ← w − η_g τ_eff Σ p_k η d_k.

The paper's plain τ_eff is Σ p_k τ_k; with momentum ‖a_k‖₁ stands in τ_k's place, as in the authors' release. Weight
decay counts as part of the gradient (release). No slow momentum of the server.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tests.oracles.federated import Problem, shares, sharp


def accumulated(steps: int, momentum: float, nesterov: bool = False) -> list[float]:
    """a_k, found by feeding one unit gradient at a time to the optimiser."""
    found = []
    for s in range(steps):
        buffer, moved = 0.0, 0.0
        for t in range(steps):
            unit = 1.0 if t == s else 0.0
            buffer = momentum * buffer + unit
            moved += unit + momentum * buffer if nesterov else buffer
        found.append(moved)
    return found


def run(
    problem: Problem,
    rounds: int,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    rho: float = 0.0,
    eta_g: float = 1.0,
    *,
    nesterov: bool = False,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        tau_eff = 0.0
        direction = torch.zeros_like(theta)  # Σ p_k d_k
        for k in cohort:
            w, b = theta.clone(), torch.zeros_like(theta)
            batches = problem.batches(r, k)
            for gradient in batches:
                d = sharp(gradient, w, rho) + weight_decay * w
                b = momentum * b + d
                w = w - lr * (d + momentum * b if nesterov else b)
            a = sum(accumulated(len(batches), momentum, nesterov))
            direction = direction + p[k] * (theta - w) / (lr * a)
            tau_eff = tau_eff + p[k] * a
        theta = theta - eta_g * tau_eff * lr * direction
        models.append(theta.clone())
    return models
