"""Clients that misbehave, for tests of what happens then."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from fedsam.data.base import Federation, Split
from fedsam.optim.base import Oracle, State
from fedsam.optim.sgd import SGD
from tests.support.ragged import Ragged, RaggedFederation


class Refusing(Ragged):
    """A federation in which reading the data of some clients raises an error."""

    refuse: str = "2,5"

    def load(self, seed: int) -> Federation:
        return RefusingFederation([int(k) for k in self.refuse.split(",")], self.clients, self.size, seed)


class RefusingFederation(RaggedFederation):
    def __init__(self, refuse: list[int], clients: int, size: int, seed: int) -> None:
        super().__init__(clients, size, 1, seed)
        self.refuse = refuse

    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        for k in ids:
            if k in self.refuse:
                raise OSError(f"the disk of client {k} is gone")
        return super().examples(ids)


class Broken(Ragged):
    """A federation in which training some clients raises an error: their examples lie outside the store."""

    def load(self, seed: int) -> Federation:
        return BrokenFederation(self.clients, self.size, 1, seed)

    load.__module__ = "fedsam.data.broken"  # as one of ours, which is trusted, or it would be found before training


class BrokenFederation(RaggedFederation):
    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        store, index = super().examples(ids)
        return store, [own + 10**6 * (k == 4) for k, own in zip(ids, index, strict=True)]


class Deadly(SGD):
    """An optimiser that kills its process with SIGKILL, as often as the number in the file `flag` says; not the process
    `spared`, where an optimiser is tried before the first round.
    """

    flag: str = ""
    spared: int = 0

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        with Path(self.flag).open("r+") as lives:
            fcntl.flock(lives, fcntl.LOCK_EX)  # several processes count down
            left = int(lives.read())
            if left and os.getpid() != self.spared:
                lives.seek(0)
                lives.write(str(left - 1))
                lives.truncate()
                lives.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().step(theta_P, state, oracle, lr)
