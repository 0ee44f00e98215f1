"""What an attack is: a small change of a batch's images that makes a model's loss larger.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from torch import Tensor

from fedsam.config import Component


class Attack(Component):
    """An attack. Everything runs under `torch.func.vmap` over clients."""

    kind: ClassVar[str] = "attack"
    package: ClassVar[str] = "fedsam.attack"

    @property
    @abstractmethod
    def passes(self) -> int:
        """Gradient evaluations that it needs."""

    @abstractmethod
    def start(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Random points of the ball of radius 1 in which the change may lie, float32 [..., H, W, C]."""

    @abstractmethod
    def changed(
        self,
        inputs_BCHW: Tensor,
        mean_C: Tensor,
        std_C: Tensor,
        gradient: Callable[[Tensor], Tensor],
        start_BCHW: Tensor | None = None,
    ) -> Tensor:
        """The batch with the change that was found.

        Args:
            inputs_BCHW: the batch, normalised: (p − mean) / std with pixels p from 0 to 1.
            mean_C: of the channels, in pixels from 0 to 1.
            std_C: likewise.
            gradient: of the loss at a normalised batch, with respect to it.
            start_BCHW: where to begin, in units of the radius; None = at the batch itself.
        """
