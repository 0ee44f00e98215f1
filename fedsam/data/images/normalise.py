"""Normalisation of images on the device.

Shapes: B batch, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fedsam.data.preparation import Preparation


class Normalise(Preparation):
    """(p / scale − mean) / std of each channel, as one multiplication and one addition; channels first.

    Args:
        mean, std: of each channel, of pixels / scale.
        scale: the pixel that is white.
        device: where they are.
        dtype: of the parameters.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], scale: float, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__(dtype)
        std_C, mean_C = np.asarray(std), np.asarray(mean)
        self.mean_C = torch.tensor(mean_C, dtype=dtype, device=device)
        self.std_C = torch.tensor(std_C, dtype=dtype, device=device)
        self._gain_C = torch.tensor(1 / (scale * std_C), dtype=dtype, device=device)
        self._shift_C = torch.tensor(-mean_C / std_C, dtype=dtype, device=device)

    def __call__(self, stored: Tensor) -> Tensor:
        """[..., B, H, W, C] to [..., B, C, H, W], which keeps the order of the memory."""
        return torch.addcmul(self._shift_C, stored.to(self.dtype), self._gain_C).movedim(-1, -3)
