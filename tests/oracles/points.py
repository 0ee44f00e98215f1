"""A gradient oracle without images, for tests of single steps. Shapes: P parameters."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fedsam.attack.base import Attack
from fedsam.optim.base import Oracle
from fedsam.params import Layout
from fedsam.schedule.base import Clock


class Points(Oracle):
    """A gradient oracle that remembers where it was asked, and what it answered."""

    t = 0
    clock = Clock(0, 1)

    def __init__(self, gradient: Callable[[Tensor], Tensor], layout: Layout) -> None:
        self.gradient, self.layout = gradient, layout
        self.asked: list[Tensor] = []

    def __call__(self, theta_P: Tensor) -> Tensor:
        self.asked.append(theta_P.clone())
        return self.gradient(theta_P)

    def change(self, theta_P: Tensor, attack: Attack) -> None:
        """Its batches have no images to change."""

    @property
    def epsilon(self) -> Tensor:
        """ε, [P]: how far the second point it was asked at lies from the first."""
        return self.asked[1] - self.asked[0]
