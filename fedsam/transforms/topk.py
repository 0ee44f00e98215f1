"""Top-k: the k largest numbers of an update.

Shapes: P parameters, k of them that are sent.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fedsam.config import key
from fedsam.transforms.base import Compression, State


class TopK(Compression):
    """C(x) keeps the k = ⌈share · P⌉ numbers of x with the largest magnitude and sets the others to 0; the numbers and
    their places travel.

    With error feedback: Aji and Heafield, EMNLP 2017; Stich et al., NeurIPS 2018, algorithm 1.
    """

    share: float = key(0.01, "k / P, share of the numbers that are sent", "Aji and Heafield 2017", gt=0.0, le=1.0)
    error_feedback: bool = key(
        True, "clients keep what is not sent, and add it to their next update", "Stich et al. 2018"
    )

    @property
    def remembers(self) -> bool:
        """As configured."""
        return self.error_feedback

    def encode(self, delta: Tensor, draws: State) -> State:
        """`values` and `places` [..., k]."""
        total = delta.shape[-1]
        places = delta.abs().topk(math.ceil(self.share * total), dim=-1, sorted=False).indices
        return {"values": delta.gather(-1, places), "places": places.to(torch.int32)}

    def decode(self, payload: State, draws: State, total: int) -> Tensor:
        """The values at their places, 0 elsewhere."""
        values = payload["values"]
        zeros = values.new_zeros(*values.shape[:-1], total)
        return zeros.scatter(-1, payload["places"].to(torch.int64), values)
