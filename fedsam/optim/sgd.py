"""Stochastic gradient descent with momentum."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.config import key
from fedsam.errors import InputError
from fedsam.optim.base import BaseOptimizer, State, is_on


class SGD(BaseOptimizer):
    """v ← μ v + (g + λ w);  w ← w − lr · v, or with Nesterov's momentum  w ← w − lr · (g + λ w + μ v).

    `torch.optim.SGD` without dampening (Sutskever et al., ICML 2013, in torch's form). The buffer v starts at zero in
    every round; with `persistent` a client keeps it from one of its rounds to the next, so that training with one
    client is centralised training.
    """

    momentum: float = key(0.0, "μ", "Caldarola et al. 2022", ge=0.0, lt=1.0)
    nesterov: bool = key(False, "Nesterov's momentum; needs momentum > 0", "torch.optim.SGD")

    persistent: bool = key(
        False, "a client keeps its momentum from round to round; needs momentum > 0", "off in Caldarola et al. 2022"
    )

    def model_post_init(self, context: object) -> None:
        """Refuse what needs momentum without it."""
        for field in ("nesterov", "persistent"):
            if getattr(self, field) and self.momentum == 0.0:
                raise InputError(field, True, "needs momentum > 0")

    @property
    def kept(self) -> tuple[str, ...]:
        """The momentum, if it is persistent."""
        return ("momentum",) if self.persistent else ()

    def init(self, theta_P: Tensor) -> State:
        """A momentum buffer of zeros, if there is momentum."""
        return {"momentum": torch.zeros_like(theta_P)} if is_on(self.momentum) else {}

    def descend(self, theta_P: Tensor, state: State, gradient_P: Tensor, lr: float | Tensor) -> tuple[Tensor, State]:
        """One step."""
        gradient_P = self.clipped(gradient_P)
        if is_on(self.weight_decay):
            gradient_P = gradient_P + self.weight_decay * theta_P
        if is_on(self.momentum):
            velocity_P = self.momentum * state["momentum"] + gradient_P
            state = {"momentum": velocity_P}
            gradient_P = gradient_P + self.momentum * velocity_P if self.nesterov else velocity_P
        if isinstance(lr, Tensor):  # of several runs; rounds as below
            return torch.addcmul(theta_P, gradient_P, -lr), state
        return torch.add(theta_P, gradient_P, alpha=-lr), state
