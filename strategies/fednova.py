"""FedNova: updates are normalised by the clients' numbers of steps before they are averaged."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Gathered, State
from fedsam.errors import InputError
from fedsam.optim.base import ClientOptimizer, must_step_with_sgd
from fedsam.optim.sgd import SGD
from fedsam.schedule.base import Clock
from fedsam.strategies.fedavg import FedAvg


class FedNova(FedAvg):
    """w ← w + lr · τ Σ p_k Δ_k / a_k,  τ = Σ p_k a_k, a_k = K_k with plain SGD.

    With momentum μ of the clients a_k is the sum of the weights with which the gradients of its steps count in Δ_k:
    K_k gradients, the j-th last with 1 + μ + … + μ^(j−1) = (1 − μ^j) / (1 − μ), so a_k = (K_k − μ (1 − μ^K_k) /
    (1 − μ)) / (1 − μ); with Nesterov's, K_k + μ times that.

    Wang et al., NeurIPS 2020, section 4 (read in the authors' code, not in the paper). τ is the paper's Σ p_k K_k,
    with momentum as in the authors' code; of that code's two other parts the proximal term is FedProx's, and the
    slow momentum FedAvgM's, and neither is here. Weight decay counts as part of the gradient there and here.
    Clients with equal K_k make it FedAvg.
    """

    averaged: ClassVar[tuple[str, ...]] = ("normalised", "steps")
    derived: ClassVar[tuple[str, ...]] = ("normalised",)

    def init(self, theta_P: Tensor) -> State:
        """No direction yet."""
        return {"direction": torch.zeros_like(theta_P)}

    def check(self, client: ClientOptimizer) -> None:
        """Clients must step with SGD, and begin each round without momentum."""
        must_step_with_sgd(client, self.name)
        if client.kept:
            allowed = f"server.name={self.name} counts the gradients of one round; use client.persistent=false"
            raise InputError("persistent", True, allowed)

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """Δ_k / a_k, and a_k."""
        moved_P, optimizer = theta_P - client.sent_P, client.optimizer.base_optimizer
        assert isinstance(optimizer, SGD)
        mu, steps = optimizer.momentum, client.steps
        counted = (steps - mu * (1 - mu**steps) / (1 - mu)) / (1 - mu)
        if optimizer.nesterov:
            counted = steps + mu * counted
        return {}, {"normalised": moved_P / counted, "steps": torch.ones_like(moved_P[..., :1]) * counted}

    def absorb(self, gathered: Gathered, state: State) -> State:
        """τ Σ p_k Δ_k / a_k."""
        return {"direction": gathered.uploads["steps"] * gathered.uploads["normalised"]}

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        """A step along the direction."""
        return super().update(theta_P, state["direction"], state, clock)
