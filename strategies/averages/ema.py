"""EMA on the server: an exponential moving average of global models."""

from __future__ import annotations

from torch import Tensor

from fedsam.algorithm.strategy import Average, State
from fedsam.config import key
from fedsam.schedule.base import Clock


class EMA(Average):
    """e ← d · e + (1 − d) · w after each round; e is the first round's model at first. d = 0 is no averaging."""

    decay: float = key(0.99, "d, weight of the average so far", "convention", ge=0.0, lt=1.0)

    def update(self, sent_P: Tensor, theta_P: Tensor, state: State, clock: Clock) -> State:
        """The average after a round."""
        if not state:
            return {"mean": theta_P}
        return {"mean": self.decay * state["mean"] + (1 - self.decay) * theta_P}

    def served(self, theta_P: Tensor, state: State) -> Tensor:
        """The average once there is one."""
        return state.get("mean", theta_P)
