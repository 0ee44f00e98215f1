"""FedAdagrad, FedYogi, FedAdam: Reddi et al., ICLR 2021, algorithm 2.

Δ = Σ p_k Δ_k;   m ← β₁ m + (1 − β₁) Δ;   m = 0 and v = τ² at the start (the paper: v ≥ τ²);

    FedAdagrad   v ← v + Δ²
    FedYogi      v ← v − (1 − β₂) Δ² sign(v − Δ²)
    FedAdam      v ← β₂ v + (1 − β₂) Δ²

w ← w + η m / (√v + τ).

Algorithm 2 has no bias correction. With it (FedAdam only; Kingma and Ba, ICLR 2015, algorithm 1): v = 0 at the start,
and in round t, from 1, m̂ = m/(1 − β₁^t) and v̂ = v/(1 − β₂^t) take the places of m and v in the step.

The paper's Δ is the mean over the sampled clients; here it is weighted by p_k. FedAdagrad keeps β₁, as in the algorithm
(the paper's experiments with it set β₁ = 0).
"""

from __future__ import annotations

from typing import Literal

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
    method: Literal["fedadagrad", "fedyogi", "fedadam"],
    beta1: float = 0.9,
    beta2: float = 0.99,
    tau: float = 1e-3,
    bias_correction: bool = False,
) -> list[Tensor]:
    """The global model after each round."""
    assert method == "fedadam" or not bias_correction
    theta = problem.theta.clone()
    m = torch.zeros_like(theta)
    v = torch.zeros_like(theta) if bias_correction else torch.full_like(theta, tau * tau)
    models = []
    for r in range(rounds):
        cohort = problem.cohort(r)
        p = shares(problem, cohort)
        delta = torch.zeros_like(theta)
        for k in cohort:
            w, b = theta.clone(), torch.zeros_like(theta)
            for gradient in problem.batches(r, k):
                d = sharp(gradient, w, rho)
                b = momentum * b + d + weight_decay * w
                w = w - lr * b
            delta = delta + p[k] * (w - theta)

        m = beta1 * m + (1 - beta1) * delta
        if method == "fedadagrad":
            v = v + delta * delta
        elif method == "fedyogi":
            v = v - (1 - beta2) * delta * delta * torch.sign(v - delta * delta)
        else:
            v = beta2 * v + (1 - beta2) * delta * delta
        m_hat, v_hat = m, v
        if bias_correction:
            t = r + 1
            m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        theta = theta + eta_g * m_hat / (torch.sqrt(v_hat) + tau)
        models.append(theta.clone())
    return models
