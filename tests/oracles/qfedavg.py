"""q-FedAvg: Li, Sanjabi, Beirami and Smith, ICLR 2020, algorithm 2.

L = 1/lr;  Δw_k = L (w − w_k);  D_k = F_k(w)^q Δw_k;  h_k = q F_k(w)^(q−1) ‖Δw_k‖² + L F_k(w)^q;
w ← w − η_g Σ D_k / Σ h_k.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from tests.oracles import federated
from tests.oracles.federated import norm, sharp


class Problem(federated.Problem, Protocol):
    """One that knows losses."""

    def loss(self, client: int) -> Callable[[Tensor], float]:
        """θ -> F_k(θ)."""
        ...


def run(
    problem: Problem,
    rounds: int,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    rho: float = 0.0,
    *,
    q: float,
    eta_g: float = 1.0,
) -> list[Tensor]:
    """The global model after each round."""
    theta = problem.theta.clone()
    models = []
    for r in range(rounds):
        numerator, denominator = torch.zeros_like(theta), 0.0
        for k in problem.cohort(r):
            loss = problem.loss(k)(theta)
            w, b = theta.clone(), torch.zeros_like(theta)
            for gradient in problem.batches(r, k):
                b = momentum * b + sharp(gradient, w, rho) + weight_decay * w
                w = w - lr * b
            change = (theta - w) / lr
            numerator = numerator + loss**q * change
            denominator += q * loss ** (q - 1) * norm(change) ** 2 + loss**q / lr
        theta = theta - eta_g * numerator / denominator
        models.append(theta.clone())
    return models
