"""No attack."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from fedsam.attack.base import Attack


class NoAttack(Attack):
    """Images stay as they are."""

    @property
    def passes(self) -> int:
        """None."""
        return 0

    def start(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Zeros."""
        return np.zeros(shape, dtype=np.float32)

    def changed(
        self,
        inputs_BCHW: Tensor,
        mean_C: Tensor,
        std_C: Tensor,
        gradient: Callable[[Tensor], Tensor],
        start_BCHW: Tensor | None = None,
    ) -> Tensor:
        """The same batch."""
        return inputs_BCHW
