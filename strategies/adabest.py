"""AdaBest: estimates of the clients' drift that fade while a client is away, and of the server's by its last means."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import State, Strategy
from fedsam.config import LARGE, key
from fedsam.schedule.base import Clock


class AdaBest(Strategy):
    """Clients descend along g − h_k, and then h_k ← h_k / (t − t_k) + μ (w_sent − w_k), t_k the last round before t in
    which it took part.

    Server: w̄ ← Σ p_k w_k;  w ← w̄ − h,  h = β (w̄ of the round before − w̄). w̄ = w and every h_k = 0 at first.

    Varno et al., ECCV 2022, algorithm 1; there the mean of the models is plain, here it is weighted by examples as
    everywhere. The equations were read in code, not in the paper: in a transcription by others, and in the authors'
    FedSim, which agrees but for the scale of μ, there divided by the steps of an epoch. With a client that
    perturbs, only the descent is corrected. μ = β = 0 is FedAvg.
    """

    client_state: ClassVar[tuple[str, ...]] = ("drift",)
    client_numbers: ClassVar[tuple[str, ...]] = ("round",)

    mu: float = key(
        0.02,
        "μ, weight of a client's update in its drift",
        "convention; in the authors' FedSim 0.1 over the steps of an epoch",
        ge=0.0,
        le=LARGE,
    )
    beta: float = key(0.85, "β, weight of the server's drift", "Varno et al. 2022, the authors' FedSim", ge=0.0, lt=1.0)

    def init(self, theta_P: Tensor) -> State:
        """w̄ = w."""
        return {"mean": theta_P.clone()}

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """g − h_k."""
        return gradient_P - client.state["drift"]

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """h_k, and t; of a client that takes part for the first time t_k is 0, and so is h_k."""
        last = client.state["round"]
        now = torch.full_like(last, client.clock.round + 1)
        return {"drift": client.state["drift"] / (now - last) + self.mu * (client.sent_P - theta_P), "round": now}, {}

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        """w ← w̄ − h."""
        mean_P = theta_P + delta_P
        return mean_P - self.beta * (state["mean"] - mean_P), {"mean": mean_P}
