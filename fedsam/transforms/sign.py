"""Signs of an update, and one length.

Shapes: P parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.config import key
from fedsam.transforms import bits
from fedsam.transforms.base import Compression, State


class Sign(Compression):
    """C(x) = (‖x‖₁ / P) sign(x), with sign(0) = 1: one bit a number.

    With error feedback: Karimireddy et al., ICML 2019, algorithm 1, with one scale for all of the model.
    """

    error_feedback: bool = key(
        True, "clients keep what is not sent, and add it to their next update", "Karimireddy et al. 2019"
    )

    @property
    def remembers(self) -> bool:
        """As configured."""
        return self.error_feedback

    def encode(self, delta: Tensor, draws: State) -> State:
        """`scale` [..., 1], and the `signs`, packed."""
        scale = delta.abs().mean(dim=-1, keepdim=True)
        return {"scale": scale, "signs": bits.packed((delta >= 0).to(torch.uint8), 1)}

    def decode(self, payload: State, draws: State, total: int) -> Tensor:
        """± the scale."""
        scale = payload["scale"]
        return scale * (2 * bits.unpacked(payload["signs"], 1, total).to(scale.dtype) - 1)
