"""FedACG: clients begin at a look-ahead along the server's momentum, and are held near it."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import State, Strategy
from fedsam.config import LARGE, key
from fedsam.schedule.base import Clock


class Lookahead(Strategy):
    """Clients are sent w̃ = w + λ m. Server: m ← λ m + Δ, Δ = Σ p_k (w_k − w̃);  w ← w + m. m = 0 at first."""

    momentum: float = key(
        0.85,
        "λ, share of the last step that is kept, and by which clients look ahead",
        "the code of Kim et al. 2024 and of Liu et al. 2026",
        ge=0.0,
        lt=1.0,
    )

    def init(self, theta_P: Tensor) -> State:
        """m = 0."""
        return {"momentum": torch.zeros_like(theta_P)}

    def sent(self, theta_P: Tensor, state: State) -> Tensor:
        """w̃."""
        return theta_P + self.momentum * state["momentum"]

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        """A step along the momentum."""
        momentum_P = self.momentum * state["momentum"] + delta_P
        return theta_P + momentum_P, {"momentum": momentum_P}


class FedACG(Lookahead):
    """Clients are sent w̃ = w + λ m and descend along g + β (w − w̃), the gradient of their loss + β/2 ‖w − w̃‖².

    Server: m ← λ m + Δ, Δ = Σ p_k (w_k − w̃);  w ← w + m. m = 0 at first.

    Kim et al., CVPR 2024, algorithm 1, read in the authors' code, which takes the plain mean; here it is weighted by
    examples as everywhere. With a client that perturbs, only the descent is corrected. β = 0 and λ = 0 is FedAvg;
    λ = 0 is FedProx.
    """

    proximal_weight: float = key(
        0.002,
        "β, weight of the proximal term",
        "the code of Kim et al. 2024: 0.001 without the half",
        ge=0.0,
        le=LARGE,
    )

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """g + β (w − w̃)."""
        return gradient_P + self.proximal_weight * (theta_P - client.sent_P)
