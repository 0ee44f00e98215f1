"""FedMoSWA: FedSWA with control variates and a momentum of them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Gathered, State
from fedsam.config import key
from fedsam.optim.base import ClientOptimizer, must_step_with_sgd
from fedsam.strategies.fedswa import FedSWA


class FedMoSWA(FedSWA):
    """Clients descend along g − c_k + m, and then c_k⁺ = c_k − m + (w_sent − w_k) / Σ_t lr_t.

    Server: FedSWA's, and m ← m + γ (1/|S|) Σ_S (c_k⁺ − m). m and every c_k are 0 at first.

    Liu et al., ICML 2025, algorithm 2. The divisor is the sum of the rates that were taken, by which the quotient is
    their weighted mean of the directions and every other schedule would have its own. The authors' release divides by
    K (lr + ρ lr) / 2, which counts a last rate that no step takes and so is lr (1 − ρ) / 2 less; its ρ there is 0,
    whatever the server's. The paper's own text could not be read again to see which of the two it writes.
    """

    client_state: ClassVar[tuple[str, ...]] = ("control",)

    gamma: float = key(0.2, "γ, step of the momentum", "Liu et al. 2025", ge=0.0, le=1.0)

    def init(self, theta_P: Tensor) -> State:
        """m = 0."""
        return {"momentum": torch.zeros_like(theta_P)}

    def check(self, client: ClientOptimizer) -> None:
        """Clients must step with SGD, or (w_sent − w_k) / Σ lr is no mean gradient."""
        must_step_with_sgd(client, self.name)

    def broadcast(self, state: State) -> State:
        """m."""
        return {"momentum": state["momentum"]}

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """g − c_k + m."""
        return gradient_P - client.state["control"] + client.sent["momentum"]

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """c_k⁺, and c_k⁺ − m. Σ_t lr_t = lr (K − (1 − ρ) (K − 1) / 2)."""
        total = client.lr * (client.steps - (1 - self.decay) * (client.steps - 1) / 2)
        control_P = client.state["control"] - client.sent["momentum"] + (client.sent_P - theta_P) / total
        return {"control": control_P}, {"momentum": control_P - client.sent["momentum"]}

    def absorb(self, gathered: Gathered, state: State) -> State:
        """m ← m + γ (1/|S|) Σ_S (c_k⁺ − m)."""
        return {"momentum": state["momentum"] + self.gamma * gathered.uploads["momentum"] / gathered.clients}
