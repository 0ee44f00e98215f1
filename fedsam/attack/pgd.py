"""PGD: projected gradient ascent on the images of a batch.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fedsam.attack.base import Attack
from fedsam.config import key


class PGD(Attack):
    """max L(x + δ) over ‖δ‖ ≤ ε of each image, with x + δ from 0 to 1, by K steps of size α:

        linf:  δ ← clip(δ + α sign ∇_δ L, −ε, ε)
        l2:    δ ← Π(δ + α ∇_δ L / ‖∇_δ L‖₂),  Π(δ) = δ min(1, ε / ‖δ‖₂)

    and then x + δ is clipped to 0 ... 1. Madry et al., ICLR 2018, section 2.1. All lengths are of pixels from 0 to 1,
    before normalisation. One gradient evaluation with respect to the images a step.
    """

    requires = frozenset({"images"})

    norm: Literal["linf", "l2"] = key("linf", "norm of the change of an image", "Zhou et al. 2025, their code")
    epsilon: float = key(
        4 / 255,
        "ε, radius of the change, for pixels from 0 to 1",
        "4/255 in Zhou et al. 2025, their code",
        ge=0.0,
        le=1e6,
    )
    steps: int = key(10, "K, steps of ascent", "Zhou et al. 2025, their code", ge=1, le=10**4)
    step_size: float = key(
        2 / 255, "α, size of a step, for pixels from 0 to 1", "2/255 in Zhou et al. 2025, their code", gt=0.0, le=1e6
    )

    @property
    def passes(self) -> int:
        """K."""
        return self.steps

    def start(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Uniform in the ball: each pixel in [−1, 1], or a random direction times u^(1 / d) of d pixels."""
        if self.norm == "linf":
            return rng.random(shape, dtype=np.float32) * 2 - 1
        way = rng.standard_normal(shape, dtype=np.float32)
        length = np.sqrt(np.square(way).sum(axis=(-3, -2, -1), keepdims=True))
        radius = rng.random(length.shape, dtype=np.float32) ** (1 / int(np.prod(shape[-3:])))
        found: np.ndarray = way * (radius / length)
        return found

    def changed(
        self,
        inputs_BCHW: Tensor,
        mean_C: Tensor,
        std_C: Tensor,
        gradient: Callable[[Tensor], Tensor],
        start_BCHW: Tensor | None = None,
    ) -> Tensor:
        """The batch with the change after the last step."""
        std, mean = std_C.view(-1, 1, 1), mean_C.view(-1, 1, 1)
        pixels = inputs_BCHW * std + mean
        delta = torch.zeros_like(pixels)
        if start_BCHW is not None:
            delta = self._within(self.epsilon * start_BCHW.to(pixels), pixels)
        for _ in range(self.steps):
            slope = gradient(inputs_BCHW + delta / std) / std
            delta = self._within(self._projected(delta + self.step_size * self._direction(slope)), pixels)
        return inputs_BCHW + delta / std

    def _direction(self, slope: Tensor) -> Tensor:
        return slope.sign() if self.norm == "linf" else slope / (_length(slope) + 1e-16)

    def _projected(self, delta: Tensor) -> Tensor:
        if self.norm == "linf":
            return delta.clamp(-self.epsilon, self.epsilon)
        return delta * (self.epsilon / _length(delta).clamp(min=max(self.epsilon, 1e-16)))

    @staticmethod
    def _within(delta: Tensor, pixels: Tensor) -> Tensor:
        """The change with which pixels stay from 0 to 1."""
        return (pixels + delta).clamp(0.0, 1.0) - pixels


def _length(images: Tensor) -> Tensor:
    """‖·‖₂ of each image, [B, 1, 1, 1]."""
    length: Tensor = torch.linalg.vector_norm(images, dim=(-3, -2, -1), keepdim=True)
    return length
