"""FedDyn: dynamic regularisation, with duals that make the clients' optima agree."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Gathered, State, Strategy
from fedsam.config import LARGE, key
from fedsam.schedule.base import Clock


class FedDyn(Strategy):
    """Clients descend along g − h_k + α (w − w_sent), and then h_k ← h_k − α (w_k − w_sent).

    Server: h ← h − α (1/N) Σ_S (w_k − w_sent);  w ← Σ p_k w_k − h / α. h and every h_k are 0 at first.

    Acar et al., ICLR 2021, algorithm 1 (h_k is the paper's ∇L_k(θ_k)); there the mean of the models is plain, here
    it is weighted by examples as everywhere. With a client that perturbs, only the descent is corrected.
    """

    client_state: ClassVar[tuple[str, ...]] = ("dual",)
    derived: ClassVar[tuple[str, ...]] = ("moved",)

    alpha: float = key(
        0.1, "α, weight of the dynamic regulariser", "Acar et al. 2021, who try 0.001 to 0.1", gt=0.0, le=LARGE
    )

    def init(self, theta_P: Tensor) -> State:
        """h = 0."""
        return {"dual": torch.zeros_like(theta_P)}

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """g − h_k + α (w − w_sent)."""
        return gradient_P - client.state["dual"] + self.alpha * (theta_P - client.sent_P)

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """h_k, and w_k − w_sent, whose plain sum the server needs."""
        moved_P = theta_P - client.sent_P
        return {"dual": client.state["dual"] - self.alpha * moved_P}, {"moved": moved_P}

    def absorb(self, gathered: Gathered, state: State) -> State:
        """h ← h − α (1/N) Σ_S (w_k − w_sent)."""
        return {"dual": state["dual"] - self.alpha * gathered.uploads["moved"] / gathered.population}

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        """w ← Σ p_k w_k − h / α."""
        return theta_P + delta_P - state["dual"] / self.alpha, state
