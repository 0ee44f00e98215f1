"""What every federated oracle is given, and FedAvg itself: McMahan et al., AISTATS 2017, algorithm 1.

Everything is one flat float64 vector. Client k, sent the model w_sent, takes one step per mini-batch:

    d = (the method's correction of g) + λ w        g = ∇L_B(w), or with rho > 0 SAM's ∇L_B(w + ρ g/(‖g‖ + 1e-16))
    b ← momentum·b + d,   w ← w − lr·b              b = 0 at the start of each client's round

λ w (`weight_decay`) stands outside the correction and takes the un-perturbed w. Δ_k = w_k − w_sent; p_k is n_k over the
sum of the n_j of the sampled clients S; K_k ≥ 1 the steps client k took; N all clients. Means of models or updates are
Σ p_k; sums of control variates and duals are divided by N.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Gradient = Callable[[Tensor], Tensor]


class Problem(Protocol):
    """What is learned, and by whom."""

    theta: Tensor  # initial global model
    clients: int  # N

    def cohort(self, round: int) -> list[int]:
        """S: the clients sampled in this round, from 0."""
        ...

    def examples(self, client: int) -> int:
        """n_k."""
        ...

    def batches(self, round: int, client: int) -> list[Gradient]:
        """One function per local step: θ -> the gradient of that mini-batch's mean loss."""
        ...


def norm(v: Tensor) -> float:
    """‖v‖₂."""
    return math.sqrt(sum(x * x for x in v.tolist()))


def zeros(problem: Problem) -> dict[int, Tensor]:
    """A vector of zeros for each of the N clients."""
    return {k: torch.zeros_like(problem.theta) for k in range(problem.clients)}


def shares(problem: Problem, cohort: list[int]) -> dict[int, float]:
    """p_k."""
    total = sum(problem.examples(k) for k in cohort)
    return {k: problem.examples(k) / total for k in cohort}


def sharp(gradient: Gradient, w: Tensor, rho: float) -> Tensor:
    """∇L_B(w), or ∇L_B(w + ρ g/(‖g‖ + 1e-16)) with rho > 0, the same mini-batch."""
    g = gradient(w)
    if rho > 0:
        g = gradient(w + rho * g / (norm(g) + 1e-16))
    return g


def fedavg(
    problem: Problem,
    rounds: int,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    rho: float = 0.0,
    eta_g: float = 1.0,
) -> list[Tensor]:
    """w ← w + η_g Σ p_k Δ_k; with rho > 0 FedSAM (Caldarola et al., ECCV 2022)."""
    theta = problem.theta.clone()
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
        theta = theta + eta_g * delta
        models.append(theta.clone())
    return models
