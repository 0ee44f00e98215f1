"""FedExP: the server's step is longer the more the clients' updates differ."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Gathered, State, Strategy
from fedsam.config import LARGE, key
from fedsam.optim.base import norm
from fedsam.schedule.base import Clock


class FedExP(Strategy):
    """w ← w + η Δ,  Δ = Σ p_k Δ_k,  η = max(1, Σ p_k ‖Δ_k‖² / (2 (‖Δ‖² + ε))).

    Jhunjhunwala et al., ICLR 2023, algorithm 1 (read in the authors' code, not in the paper); there the means are
    plain, here they are weighted by examples as everywhere, and as in the authors' code. That code multiplies ε by
    the number of clients, and lets it fall with the square of their learning rate. The paper evaluates the mean of
    the last two models: `average.name=wima average.window=2`. One client, or clients that agree, make it FedAvg.
    """

    averaged: ClassVar[tuple[str, ...]] = ("square",)
    derived: ClassVar[tuple[str, ...]] = ("square",)

    epsilon: float = key(
        1e-3,
        "ε, added to the squared norm of the mean update",
        "Jhunjhunwala et al. 2023, the authors' code for CIFAR-10",
        gt=0.0,
        le=LARGE,
    )

    def init(self, theta_P: Tensor) -> State:
        """η = 1."""
        return {"step": theta_P.new_ones(1)}

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """‖Δ_k‖²."""
        return {}, {"square": norm(theta_P - client.sent_P).square()}

    def absorb(self, gathered: Gathered, state: State) -> State:
        """η."""
        mean = norm(gathered.delta_P).square() + self.epsilon
        return {"step": (gathered.uploads["square"] / (2 * mean)).clamp(min=1)}

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        """A step along the mean update."""
        return theta_P + state["step"] * delta_P, state
