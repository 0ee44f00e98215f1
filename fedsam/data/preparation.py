"""How stored inputs become what a model is given.

Shapes: B batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Preparation:
    """Inputs as they are stored: numbers in the type of the parameters, whole numbers (tokens, classes) as int64.

    Args:
        dtype: of the parameters.
    """

    dtype: torch.dtype

    def __call__(self, stored: Tensor) -> Tensor:
        """What a model is given, of a batch or a block of batches as it is stored, [..., B, ...]."""
        return stored.to(self.dtype if stored.is_floating_point() else torch.int64)
