"""FedAvg: federated averaging."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.algorithm.strategy import State, Strategy
from fedsam.config import LARGE, key
from fedsam.schedule.base import Clock


class FedAvg(Strategy):
    """w ← w + lr · Σ_k (n_k / Σ n) (w_k − w).

    McMahan et al., AISTATS 2017, algorithm 1, at lr = 1; with another server learning rate Reddi et al., ICLR 2021,
    algorithm 1 with SGD.
    """

    lr: float = key(1.0, "server learning rate", "McMahan et al. 2017", gt=0.0, le=LARGE)

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        """A step along the mean update."""
        return torch.add(theta_P, delta_P, alpha=self.lr), state
