"""FedAdam: Adam on the server, with the clients' mean update as its gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.algorithm.strategy import State
from fedsam.config import key
from fedsam.schedule.base import Clock
from fedsam.strategies.fedadagrad import FedAdagrad


class FedAdam(FedAdagrad):
    """v ← β₂ v + (1 − β₂) Δ², else as FedAdagrad.

    Reddi et al., ICLR 2021, algorithm 2. With `bias_correction` it is Adam (Kingma and Ba, ICLR 2015, algorithm 1) on
    the gradient −Δ: v = 0 at first, and in round t, from 1, m / (1 − β₁^t) and v / (1 − β₂^t) take the places of m
    and v.
    """

    beta2: float = key(0.99, "β₂, decay of the squares", "Reddi et al. 2021", ge=0.0, lt=1.0)
    bias_correction: bool = key(False, "Adam's bias correction", "off in Reddi et al. 2021")

    def init(self, theta_P: Tensor) -> State:
        """m = 0, v = τ², or 0 with bias correction."""
        state = super().init(theta_P)
        return {**state, "square": torch.zeros_like(theta_P)} if self.bias_correction else state

    def square(self, square_P: Tensor, delta_P: Tensor) -> Tensor:
        """v after an update."""
        return self.beta2 * square_P + (1 - self.beta2) * delta_P.square()

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        """An adaptive step."""
        if not self.bias_correction:
            return super().update(theta_P, delta_P, state, clock)
        mean_P = self.beta1 * state["mean"] + (1 - self.beta1) * delta_P
        square_P = self.square(state["square"], delta_P)
        t = clock.round + 1
        root_P = (square_P / (1 - self.beta2**t)).sqrt()
        theta_P = theta_P + self.lr * mean_P / (1 - self.beta1**t) / (root_P + self.tau)
        return theta_P, {"mean": mean_P, "square": square_P}
