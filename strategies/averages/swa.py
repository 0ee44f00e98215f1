"""SWA on the server: the mean of global models captured late in training, under a cyclic client learning rate."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from fedsam.algorithm.strategy import Average, State
from fedsam.config import LARGE, key
from fedsam.errors import InputError
from fedsam.schedule.base import Clock


class SWA(Average):
    """w_swa = mean of the global models captured from round s = ⌊start · T⌋ on.

    In round i ≥ s (from 0) the clients' learning rate is lr_i = (1 − t_i) γ₁ + t_i γ₂ with t_i = ((i mod c) + 1) / c,
    where γ₁ is the client learning rate, γ₂ is `lr_end` and c is `cycle`; c = 1 leaves it constant (Izmailov et al.,
    UAI 2018, section 3.2; Caldarola et al., ECCV 2022).

    `capture` says which models are averaged:

    - `cycle-end`: those after the rounds with the lowest learning rate, i mod c = c − 1, as Izmailov et al. intend;
    - `as-released`: those after rounds i > s with (i − s) mod c = 0, as the FedSAM authors' code does; when c divides s
      these are the rounds with the highest learning rate of each cycle. Until the first capture the model sent in round
      s is served.
    """

    start: float = key(
        0.75, "share of the rounds after which averaging begins", "Caldarola et al. 2022", ge=0.0, lt=1.0
    )
    cycle: int = key(
        10, "c, rounds in a cycle of the client learning rate; 1 = constant", "Caldarola et al. 2022, CIFAR-10", ge=1
    )
    lr_end: float = key(
        1e-4, "γ₂, client learning rate at the end of a cycle", "Caldarola et al. 2022", gt=0.0, le=LARGE
    )
    capture: Literal["cycle-end", "as-released"] = key("cycle-end", "which models are averaged", "Izmailov et al. 2018")

    def begin(self, rounds: int) -> int:
        """s, the first round (from 0) of the averaging phase."""
        return math.floor(round(self.start * rounds, 6))  # in binary 0.29 · 100 is 28.99...

    def captures(self, clock: Clock) -> bool:
        """Whether the model after this round is averaged."""
        s, i = self.begin(clock.rounds), clock.round
        if self.capture == "cycle-end":
            return i >= s and i % self.cycle == self.cycle - 1
        return i > s and (i - s) % self.cycle == 0

    def check(self, rounds: int) -> None:
        """Refuse a cycle that never ends between s and the last round."""
        if not any(self.captures(Clock(i, rounds)) for i in range(self.begin(rounds), rounds)):
            allowed = (
                f"no model would be captured in rounds {self.begin(rounds) + 1} to {rounds};"
                " use a shorter cycle or an earlier start"
            )
            raise InputError("cycle", self.cycle, allowed)

    def lr(self, lr: float, clock: Clock) -> float:
        """The cyclic learning rate from round s on."""
        if clock.round < self.begin(clock.rounds) or self.cycle == 1:
            return lr
        t = (clock.round % self.cycle + 1) / self.cycle
        return (1 - t) * lr + t * self.lr_end

    def update(self, sent_P: Tensor, theta_P: Tensor, state: State, clock: Clock) -> State:
        """The running mean, w_swa ← w_swa + (w − w_swa) / (n + 1), after a round that captures."""
        if self.capture == "as-released" and clock.round == self.begin(clock.rounds):
            return {"mean": sent_P, "count": torch.zeros((), dtype=torch.int64)}
        if not self.captures(clock):
            return state
        count = int(state["count"]) if state else 0
        mean_P = state["mean"] + (theta_P - state["mean"]) / (count + 1) if count else theta_P
        return {"mean": mean_P, "count": torch.tensor(count + 1)}

    def served(self, theta_P: Tensor, state: State) -> Tensor:
        """The average once there is one."""
        return state.get("mean", theta_P)
