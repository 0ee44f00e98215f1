"""The server's side of differential privacy: what clients are sent for it, noise in their mean, and epsilon.

Shapes: P parameters, K clients of a round.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from fedsam.algorithm.client_hooks import State
from fedsam.errors import under
from fedsam.rng import stream
from fedsam.run import Run
from fedsam.transforms.accountant import Sampled
from fedsam.transforms.base import Terms
from fedsam.transforms.pipeline import PRIVACY


class PrivateSum:
    """A run's privacy mechanism at work; without one it does nothing.

    Args:
        run: the description.
        clients: N, all of them.
        like: of the type and on the device of parameters.
    """

    def __init__(self, run: Run, clients: int, like: Tensor) -> None:
        self.mechanism, self.seed, self._like = run.privacy, run.seed, like
        sampled = Sampled(clients, run.cohort, run.system.sampling.poisson)
        with under("privacy"):
            self.terms = Terms(sampled, self.mechanism.multiplier(run.rounds, sampled))
            self.state = self.mechanism.init(like)
            self.sent()

    @property
    def active(self) -> bool:
        """Whether there is one."""
        return self.mechanism.active

    def weights(self, sizes_K: np.ndarray) -> np.ndarray:
        """The clients' shares in the mean, by their examples; all the same where one client must not weigh more than
        another, float64 [K].
        """
        return np.full(len(sizes_K), 1 / max(1, len(sizes_K))) if self.active else sizes_K / sizes_K.sum()

    def sent(self) -> State:
        """What clients are sent of it."""
        return {PRIVACY: self.mechanism.sent(self.state, self.terms, self._like)} if self.active else {}

    def take(self, delta_P: Tensor, came: int, uploads: State, round: int) -> Tensor:
        """The private mean of a round, from 0, in place of the plain one.

        Args:
            came: how many clients delivered.
            uploads: the sums of what they sent beside their updates.
        """
        if not self.active:
            return delta_P
        rng = stream(self.seed, "privacy", round)
        delta_P, self.state = self.mechanism.server(delta_P, came, uploads, self.state, self.terms, rng)
        return delta_P

    def record(self, rounds: int) -> dict[str, Any]:
        """What a record says after so many rounds: `epsilon`, None without bound; the clip, if it moves."""
        if not self.active:
            return {}
        clip = {name: float(value) for name, value in self.state.items()}
        return {"epsilon": self.mechanism.spent(rounds, self.terms), **clip}
