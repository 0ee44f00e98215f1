"""Lookahead: some steps on one mini-batch each, and a step towards where they lead."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedsam.config import key
from fedsam.optim.base import Around, BaseOptimizer, Oracle, State, Wrapper

SLOW = "slow"


class Lookahead(Around):
    """Slow weights φ, and fast weights w that an inner optimiser moves; after every k-th of a client's local steps

        φ ← φ + α (w − φ),   w ← φ

    Zhang et al., NeurIPS 2019, algorithm 1; around SAM a baseline of Mordido et al., ICML 2024, whose Lookbehind takes
    its k steps on one mini-batch instead of k of them. The inner optimiser's momentum is neither interpolated nor set
    to zero, as in Zhang et al. φ begins in each round at the model that the client was sent, and steps at the end of a
    round that are fewer than k stay as they are: in a federation the server interpolates as well. The inner optimiser's
    gradient evaluations. α = 1 is the inner optimiser, bit for bit.
    """

    ascent: Wrapper = key("sam", "the inner optimiser, with its base", "Mordido et al. 2024")
    k: int = key(5, "steps of the inner optimiser between steps of the slow weights", "Zhang et al. 2019", ge=1)
    alpha: float = key(0.5, "α, step of the slow weights towards the fast ones", "Zhang et al. 2019", gt=0.0, le=1.0)

    @property
    def base_optimizer(self) -> BaseOptimizer:
        """The base optimiser of the inner one."""
        return self.ascent.base_optimizer

    @property
    def perturbs(self) -> bool:
        """As the inner optimiser."""
        return self.ascent.perturbs

    def draw(
        self, rng: np.random.Generator, count_T: np.ndarray, batch: int, shape: tuple[int, ...]
    ) -> dict[str, np.ndarray]:
        """As the inner optimiser."""
        return self.ascent.draw(rng, count_T, batch, shape)

    def init(self, theta_P: Tensor) -> State:
        """The inner optimiser's state, and the slow weights."""
        return self.ascent.init(theta_P) | {SLOW: theta_P}

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        """A step of the inner optimiser, and after every k-th one a step of the slow weights."""
        slow_P, inner = state[SLOW], {name: kept_P for name, kept_P in state.items() if name != SLOW}
        fast_P, inner = self.ascent.step(theta_P, inner, oracle, lr)
        if (oracle.t + 1) % self.k:
            return fast_P, inner | {SLOW: slow_P}
        slow_P = torch.lerp(slow_P, fast_P, self.alpha)
        return slow_P, inner | {SLOW: slow_P}
