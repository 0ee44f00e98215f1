"""FedAvgM: federated averaging with momentum on the server."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.algorithm.strategy import State
from fedsam.config import key
from fedsam.schedule.base import Clock
from fedsam.strategies.fedavg import FedAvg


class FedAvgM(FedAvg):
    """v ← β v + Δ;  w ← w + lr · v.

    Hsu et al., arXiv 1909.06335 (2019), section 3. β = 0 is FedAvg.
    """

    beta: float = key(0.9, "β, momentum of the server", "Hsu et al. 2019", ge=0.0, lt=1.0)

    def init(self, theta_P: Tensor) -> State:
        """v = 0."""
        return {"momentum": torch.zeros_like(theta_P)}

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        """A step along the momentum."""
        momentum_P = self.beta * state["momentum"] + delta_P
        return theta_P + self.lr * momentum_P, {"momentum": momentum_P}
