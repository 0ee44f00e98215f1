"""WiMA: the mean of the global models of a window of recent rounds."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.algorithm.strategy import Average, State
from fedsam.config import key
from fedsam.schedule.base import Clock


class WiMA(Average):
    """The mean of the last W global models, of all there are at the start; usable from the first round on. W = 1 is no
    averaging. W models are kept.

    Caldarola et al., ICCV Workshops 2023 (arXiv 2310.01366).
    """

    window: int = key(10, "W, rounds in the window", "convention", ge=1, le=10**6)

    def kept(self, rounds: int) -> int:
        """The models of the window."""
        return min(self.window, rounds)

    def update(self, sent_P: Tensor, theta_P: Tensor, state: State, clock: Clock) -> State:
        """The window after a round."""
        if not state:
            return {"models": theta_P[None]}
        return {
            "models": torch.cat([state["models"][-(self.window - 1) :], theta_P[None]])
            if self.window > 1
            else theta_P[None]
        }

    def served(self, theta_P: Tensor, state: State) -> Tensor:
        """The mean of the window."""
        return state["models"].mean(dim=0) if state else theta_P
