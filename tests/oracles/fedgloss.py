"""FedGloSS: Caldarola et al., CVPR 2025, algorithm 1.

Server sends  w̃ = w + ρ Δ/‖Δ‖, Δ of the previous round; w̃ = w in the first, and where ‖Δ‖ = 0.
Client:  d = g − σ_k + (w − w̃)/β,  g plain or SAM's with radius ρ_l;   then  σ_k ← σ_k − (w_k − w̃)/β.
Server:  σ ← σ − (1/(β N)) Σ_S (w_k − w̃);   Δ ← Σ_S p_k (w̃ − w_k);   w ← w − Δ − β σ.
σ, every σ_k and Δ are 0 at the start.

Δ is of the gradient's sign (it climbs) and is measured from w̃; the step leaves from w. The algorithm divides by |C|, C
all the clients and C^t the sampled: N. The released code divides by |C^t| besides. No server learning rate. `rho` is
the server's radius; the models given back are the w, not the w̃.

Warm-up (release, T_s > 0): in round t, from 0, both radii are ρ_0 + (ρ − ρ_0) t/T_s, from t = T_s on ρ; clients with
ρ_l = 0 take plain steps throughout. Of the server's the released code adds its step to the clients' last radius
instead, surely by mistake.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tests.oracles.federated import Problem, norm, shares, sharp, zeros


def run(
    problem: Problem,
    rounds: int,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    rho: float = 0.0,
    *,
    beta: float,
    rho_l: float = 0.0,
    rho_0: float = 0.0,
    T_s: int = 0,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    delta = torch.zeros_like(theta)
    sigma, sigma_k = torch.zeros_like(theta), zeros(problem)
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        rho_t, rho_l_t = rho, rho_l
        if r < T_s:
            rho_t = rho_0 + (rho - rho_0) * r / T_s
            rho_l_t = rho_0 + (rho_l - rho_0) * r / T_s if rho_l > 0 else 0.0
        sent = theta.clone()
        if norm(delta) > 0:
            sent = theta + rho_t * delta / norm(delta)
        delta = torch.zeros_like(theta)
        moved = torch.zeros_like(theta)  # Σ_S (w_k − w̃)
        for k in cohort:
            w, b = sent.clone(), torch.zeros_like(theta)
            for gradient in problem.batches(r, k):
                d = sharp(gradient, w, rho_l_t) - sigma_k[k] + (w - sent) / beta
                b = momentum * b + d + weight_decay * w
                w = w - lr * b
            sigma_k[k] = sigma_k[k] - (w - sent) / beta
            moved = moved + (w - sent)
            delta = delta + p[k] * (sent - w)
        sigma = sigma - moved / (beta * problem.clients)
        theta = theta - delta - beta * sigma
        models.append(theta.clone())
    return models
