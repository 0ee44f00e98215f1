"""FedCM: clients mix the last round's direction into each of their steps."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Gathered, State
from fedsam.config import key
from fedsam.optim.base import ClientOptimizer, must_step_with_sgd
from fedsam.strategies.fedavg import FedAvg


class FedCM(FedAvg):
    """Clients descend along α g + (1 − α) D; D ← − Σ p_k Δ_k / (K_k · client lr) after each round, 0 at first.

    Server: FedAvg's. Xu et al., arXiv 2106.10874 (2021), algorithm 2; there the server steps along D, which with
    equal K_k is the same up to its learning rate. With a client that perturbs, only the descent is corrected
    (MoFedSAM).
    """

    averaged: ClassVar[tuple[str, ...]] = ("direction",)
    derived: ClassVar[tuple[str, ...]] = ("direction",)

    alpha: float = key(0.1, "α, share of the client's own gradient in a step", "Xu et al. 2021", gt=0.0, le=1.0)

    def init(self, theta_P: Tensor) -> State:
        """D = 0."""
        return {"direction": torch.zeros_like(theta_P)}

    def check(self, client: ClientOptimizer) -> None:
        """Clients must step with SGD, or Δ_k / (K lr) is no mean gradient."""
        must_step_with_sgd(client, self.name)

    def broadcast(self, state: State) -> State:
        """D."""
        return {"direction": state["direction"]}

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """α g + (1 − α) D."""
        return self.alpha * gradient_P + (1 - self.alpha) * client.sent["direction"]

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """The client's part of the next D."""
        return {}, {"direction": (client.sent_P - theta_P) / (client.steps * client.lr)}

    def absorb(self, gathered: Gathered, state: State) -> State:
        """The next D."""
        return {"direction": gathered.uploads["direction"]}
