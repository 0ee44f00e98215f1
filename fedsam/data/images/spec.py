"""What is to be known of images, and how bytes become what a model is given.

Shapes: B batch, H height, W width, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedsam.data.spec import Spec

if TYPE_CHECKING:
    import torch

    from fedsam.data.images.normalise import Normalise


@dataclass(frozen=True)
class ImageSpec(Spec):
    """Images that are kept as bytes in channels-last order; `shape` is (H, W, C).

    A pixel p of channel c enters the model as (p / scale - mean[c]) / std[c], unless `data.pixels` says otherwise.
    """

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 255.0
    dtype: str = field(default="uint8", kw_only=True)

    def plain(self) -> tuple[object, ...]:
        """The same as Python's own numbers, of whatever type they were given."""
        return (*super().plain(), *map(float, self.mean), *map(float, self.std), float(self.scale))

    def preparation(self, device: torch.device, dtype: torch.dtype) -> Normalise:
        """Normalisation, channels first."""
        from fedsam.data.images.normalise import Normalise

        return Normalise(self.mean, self.std, self.scale, device, dtype)
