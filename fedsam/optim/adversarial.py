"""Adversarial training: steps on images that were changed to raise the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from fedsam.attack.base import Attack
from fedsam.config import key
from fedsam.optim.base import Oracle, State, Wrapper

if TYPE_CHECKING:
    from fedsam.attack.keys import AttackKeys
else:
    AttackKeys = object

START = "attack start"
"""Name of the draws."""


class Adversarial(Wrapper, AttackKeys):
    """w ← base(w, ∇_w L_B(w; x + δ)), with δ the attack's, found at w on the same mini-batch after its augmentation.

    Madry et al., ICLR 2018, eq. 2.1; as the late phase of training (`client.name=late client.ascent=adversarial`) Zhou
    et al., ICLR 2025, section 6. The running statistics of batch normalisation are those of the changed batch. One
    gradient evaluation a step and those of the attack, with PGD-10 eleven. ε = 0 without a random start is the base.
    """

    requires = frozenset({"images"})

    attack: Attack = key("pgd", "how the images are changed", "Zhou et al. 2025, their code")
    random_start: bool = key(
        True, "begin at a random point of the ball instead of at the image", "Zhou et al. 2025, their code"
    )

    @property
    def perturbs(self) -> bool:
        """Not the weights."""
        return False

    def draw(
        self, rng: np.random.Generator, count_T: np.ndarray, batch: int, shape: tuple[int, ...]
    ) -> dict[str, np.ndarray]:
        """Where the attack begins."""
        if not self.random_start:
            return {}
        start = self.attack.start(rng, (len(count_T), batch, *shape))
        return {START: np.ascontiguousarray(np.moveaxis(start, -1, -3))}

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        """The base's step on the changed batch."""
        oracle.change(theta_P, self.attack)
        return self.base.step(theta_P, state, oracle, lr)
