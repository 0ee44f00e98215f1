"""FedSpeed: prox-correction and perturbed gradients allow long local training."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Gathered, State, Strategy
from fedsam.config import LARGE, key
from fedsam.optim.base import ClientOptimizer, must_perturb
from fedsam.schedule.base import Clock


class FedSpeed(Strategy):
    """Clients descend along ∇L_B(w + ε) + λ (w − w_sent + h_k), and then h_k ← h_k + w_k − w_sent.

    Server: w ← Σ_S p_k w_k + (1/N) Σ_all h_k. Every h_k is 0 at first.

    Sun et al., ICLR 2023, algorithm 1, with λ for the paper's 1/λ, its α = 1 and the h_k averaged over all clients,
    as in the authors' code. So it is FedDyn with α = λ and a client that perturbs.
    """

    client_state: ClassVar[tuple[str, ...]] = ("correction",)
    derived: ClassVar[tuple[str, ...]] = ("moved",)

    proximal_weight: float = key(
        0.1, "λ, weight of the proximal term", "Sun et al. 2023, FL-Simulator", gt=0.0, le=LARGE
    )

    def init(self, theta_P: Tensor) -> State:
        """The mean of the h_k, 0."""
        return {"correction": torch.zeros_like(theta_P)}

    def check(self, client: ClientOptimizer) -> None:
        """Clients must perturb."""
        must_perturb(client, self.name)

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """g + λ (w − w_sent + h_k)."""
        return gradient_P + self.proximal_weight * (theta_P - client.sent_P + client.state["correction"])

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """h_k, and its change."""
        moved_P = theta_P - client.sent_P
        return {**client.state, "correction": client.state["correction"] + moved_P}, {"moved": moved_P}

    def absorb(self, gathered: Gathered, state: State) -> State:
        """(1/N) Σ_all h_k."""
        moved_P = gathered.uploads["moved"] / gathered.population
        return {**state, "correction": state["correction"] + moved_P}

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        """w ← Σ_S p_k w_k + (1/N) Σ_all h_k."""
        return theta_P + delta_P + state["correction"], state
