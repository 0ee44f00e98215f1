"""Faults that only a GPU shows: on a CPU each of these trains."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.algorithm.strategy import State
from fedsam.optim.base import Oracle
from fedsam.optim.sgd import SGD
from fedsam.schedule.base import Clock
from strategies.fedavg import FedAvg


class HostTensor(SGD):
    """An optimiser that adds a tensor of the host."""

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        new_P, state = super().step(theta_P, state, oracle, lr)
        return new_P + torch.zeros(theta_P.shape[-1]), state


class Item(FedAvg):
    """A strategy that looks at a number of the device."""

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        scale = min(1.0, 1 / (1e-3 + delta_P.norm().item()))
        return super().update(theta_P, scale * delta_P, state, clock)


class HostIndex(FedAvg):
    """A strategy that picks by positions that lie on the host, which torch would silently copy."""

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        return super().update(theta_P, delta_P[torch.arange(len(delta_P))], state, clock)
