"""A learning rate that rises at the beginning of every round."""

from __future__ import annotations

from torch import Tensor

from fedsam.config import key
from fedsam.schedule.local.base import LocalSchedule


class Warmup(LocalSchedule):
    """lr_t = lr · min(1, (t + 1) / (share · K)), from step t = 0 of the client's K.

    The gradual warm-up of Goyal et al., arXiv 1706.02677, section 2.2, in each round: buffers that begin at zero there
    (momentum, AdamW's moments) have a few short steps to fill.
    """

    local_share: float = key(0.2, "share of a round's steps in which the rate rises", "convention", gt=0.0, le=1.0)

    def rate(self, lr: float | Tensor, t: int, steps: Tensor | float) -> float | Tensor:
        """The rising rate."""
        share = (t + 1) / (self.local_share * steps)
        return lr * (share.clamp(max=1.0) if isinstance(share, Tensor) else min(1.0, share))
