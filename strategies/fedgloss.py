"""FedGloSS: the server perturbs the model before it is sent, along its own last step."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Gathered, State, Strategy
from fedsam.config import LARGE, key
from fedsam.schedule.base import Clock


class FedGloSS(Strategy):
    """Clients are sent w̃ = w + ρ Δ / ‖Δ‖, Δ = Σ p_k (w̃ − w_k) of the round before; w itself at first.

    Clients descend along g − σ_k + (w − w̃) / β, and then σ_k ← σ_k − (w_k − w̃) / β.
    Server: σ ← σ − (1 / (β N)) Σ_S (w_k − w̃);  w ← w − Δ − β σ. σ and every σ_k are 0 at first.

    Caldarola et al., CVPR 2025, algorithm 1, without the authors' warm-up of ρ; g is the client optimiser's, plain
    or of SAM with a radius of its own. ρ = 0 is FedDyn with α = 1 / β.
    """

    client_state: ClassVar[tuple[str, ...]] = ("dual",)
    derived: ClassVar[tuple[str, ...]] = ("moved",)

    rho: float = key(
        0.15, "ρ, radius of the server's perturbation", "Caldarola et al. 2025, CIFAR-10", ge=0.0, le=LARGE
    )
    beta: float = key(
        10.0, "β, inverse weight of the proximal term", "Caldarola et al. 2025, CIFAR-10", gt=0.0, le=LARGE
    )

    def init(self, theta_P: Tensor) -> State:
        """σ = 0, Δ = 0."""
        return {"dual": torch.zeros_like(theta_P), "last": torch.zeros_like(theta_P)}

    def sent(self, theta_P: Tensor, state: State) -> Tensor:
        """w̃."""
        norm = torch.linalg.vector_norm(state["last"])
        return theta_P + torch.where(norm > 0, self.rho * state["last"] / norm, 0.0)

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """g − σ_k + (w − w̃) / β."""
        return gradient_P - client.state["dual"] + (theta_P - client.sent_P) / self.beta

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """σ_k, and w_k − w̃, whose plain sum the server needs."""
        moved_P = theta_P - client.sent_P
        return {"dual": client.state["dual"] - moved_P / self.beta}, {"moved": moved_P}

    def absorb(self, gathered: Gathered, state: State) -> State:
        """σ, and Δ."""
        dual_P = state["dual"] - gathered.uploads["moved"] / (self.beta * gathered.population)
        return {"dual": dual_P, "last": -gathered.delta_P}

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        """w ← w − Δ − β σ."""
        return theta_P + delta_P - self.beta * state["dual"], state
