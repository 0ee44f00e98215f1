"""Another optimiser in one part of training alone: SAM late, SAM early, adversarial training late."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from torch import Tensor

from fedsam.config import key
from fedsam.optim.base import Around, BaseOptimizer, ClientOptimizer, Oracle, State, Wrapper
from fedsam.schedule.base import Clock


class Late(Around):
    """θ_{SGD→SAM, t}: the base alone in rounds 0 ... t − 1, the optimiser around it from round t on; with
    `first=perturbed` the other way round, θ_{SAM→SGD, t}. With `ascent=adversarial` it is θ_{SGD→AT, t}.

    Zhou et al., ICLR 2025, with rounds for their epochs: a federation of one client with `client.persistent` trains as
    they do. The momentum buffer is kept at the switch, or set to zero as in their code (in round t; buffers that
    clients do not keep from round to round start at zero in every round anyway). t = 0 is the perturbed optimiser, t
    = T the base, bit for bit. One gradient evaluation a step before the switch, the perturbed optimiser's after it,
    or vice versa.
    """

    ascent: Wrapper = key("sam", "the optimiser of the other part, with its base", "Zhou et al. 2025")
    switch: float = key(
        0.9,
        "t, the round of the switch; below 1 a share of the rounds, ⌊switch · T⌋",
        "Zhou et al. 2025",
        ge=0.0,
        le=1e9,
    )
    first: Literal["base", "perturbed"] = key("base", "which of the two comes first", "Zhou et al. 2025")
    reset: bool = key(False, "set a kept momentum buffer to zero at the switch", "on in Zhou et al. 2025, their code")

    @property
    def base_optimizer(self) -> BaseOptimizer:
        """The base of both parts."""
        return self.ascent.base_optimizer

    @property
    def perturbs(self) -> bool:
        """As its perturbed part."""
        return self.ascent.perturbs

    def draw(
        self, rng: np.random.Generator, count_T: np.ndarray, batch: int, shape: tuple[int, ...]
    ) -> dict[str, np.ndarray]:
        """As the optimiser around the base, also in rounds of the base alone."""
        return self.ascent.draw(rng, count_T, batch, shape)

    def begin(self, rounds: int) -> int:
        """t, the first round after the switch."""
        return math.floor(round(self.switch * rounds, 6)) if self.switch < 1 else int(self.switch)

    def active(self, clock: Clock) -> ClientOptimizer:
        """The optimiser of this round."""
        late = clock.round >= self.begin(clock.rounds)
        return self.ascent if late == (self.first == "base") else self.base_optimizer

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        """A step of the round's optimiser."""
        if self.reset and oracle.t == 0 and oracle.clock.round == self.begin(oracle.clock.rounds):
            state = self.init(theta_P)
        return self.active(oracle.clock).step(theta_P, state, oracle, lr)
