"""SCAFFOLD: control variates correct the drift of the clients."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Gathered, State
from fedsam.optim.base import ClientOptimizer, must_step_with_sgd
from fedsam.strategies.fedavg import FedAvg


class Scaffold(FedAvg):
    """Clients descend along g − c_k + c, and then c_k⁺ = c_k − c + (w_sent − w_k) / (K_k · client lr).

    Server: FedAvg's w ← w + lr · Σ p_k Δ_k, and c ← c + (1/N) Σ_S (c_k⁺ − c_k). c and every c_k are 0 at first.

    Karimireddy et al., ICML 2020, algorithm 1, option II; there the mean of the updates is plain, here it is
    weighted by examples as everywhere. With a client that perturbs, only the descent is corrected (FedGAMMA). Weight
    decay and momentum of a client enter its c_k.
    """

    client_state: ClassVar[tuple[str, ...]] = ("control",)

    def init(self, theta_P: Tensor) -> State:
        """c = 0."""
        return {"control": torch.zeros_like(theta_P)}

    def check(self, client: ClientOptimizer) -> None:
        """Clients must step with SGD, or (w_sent − w_k) / (K lr) is no mean gradient."""
        must_step_with_sgd(client, self.name)

    def broadcast(self, state: State) -> State:
        """c."""
        return {"control": state["control"]}

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """g − c_k + c."""
        return gradient_P - client.state["control"] + client.sent["control"]

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """c_k⁺, and its change."""
        change_P = (client.sent_P - theta_P) / (client.steps * client.lr) - client.sent["control"]
        return {"control": client.state["control"] + change_P}, {"control": change_P}

    def absorb(self, gathered: Gathered, state: State) -> State:
        """c ← c + (1/N) Σ_S (c_k⁺ − c_k)."""
        return {"control": state["control"] + gathered.uploads["control"] / gathered.population}
