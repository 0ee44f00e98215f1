"""FedAdagrad: adaptive steps of the server, by the sum of all squared updates."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.algorithm.strategy import State, Strategy
from fedsam.config import LARGE, key
from fedsam.schedule.base import Clock


class FedAdagrad(Strategy):
    """m ← β₁ m + (1 − β₁) Δ;  v ← v + Δ²;  w ← w + lr · m / (√v + τ).

    Reddi et al., ICLR 2021, algorithm 2; m = 0 and v = τ² at first, no bias correction. Their experiments with it set
    β₁ to 0, as Adagrad has no momentum. The default here is that of `fedadam` and `fedyogi`, so that the three differ
    in v alone; `server.beta1=0` is what they ran.
    """

    lr: float = key(0.1, "server learning rate", "Reddi et al. 2021, of the order tuned for CIFAR-10", gt=0.0, le=LARGE)
    beta1: float = key(
        0.9, "β₁, decay of the mean of the updates; 0 = none", "as of fedadam; 0 in Reddi et al. 2021", ge=0.0, lt=1.0
    )
    tau: float = key(1e-3, "τ, added to the root", "Reddi et al. 2021", gt=0.0, le=1e15)

    def init(self, theta_P: Tensor) -> State:
        """m = 0, v = τ²."""
        return {"mean": torch.zeros_like(theta_P), "square": torch.full_like(theta_P, self.tau**2)}

    def square(self, square_P: Tensor, delta_P: Tensor) -> Tensor:
        """v after an update."""
        return square_P + delta_P.square()

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        """An adaptive step."""
        mean_P = self.beta1 * state["mean"] + (1 - self.beta1) * delta_P
        square_P = self.square(state["square"], delta_P)
        theta_P = theta_P + self.lr * mean_P / (square_P.sqrt() + self.tau)
        return theta_P, {"mean": mean_P, "square": square_P}
