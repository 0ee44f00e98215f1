"""FedLESAM: clients perturb along the way the global model has gone since they last took part."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext, ClientHooks
from fedsam.algorithm.strategy import State
from fedsam.config import LARGE, key
from fedsam.optim.base import ClientOptimizer, must_not_perturb, norm
from fedsam.strategies.fedavg import FedAvg


class LESAM(ClientHooks):
    """ε = ρ (w_prev − w_sent) / ‖w_prev − w_sent‖ in every step of a round, w_prev the model that the client was
    sent when it last took part; 0 at its first time. One gradient a step, at w + ε.

    Fan et al., ICML 2024, algorithm 1.
    """

    rho: float = key(0.5, "ρ, radius of the perturbation", "Fan et al. 2024, the authors' example", ge=0.0, le=LARGE)

    def check(self, client: ClientOptimizer) -> None:
        """Clients must not perturb by themselves."""
        must_not_perturb(client, self.name)

    def begin(self, client: ClientContext) -> ClientContext:
        """Fix ε, and remember this model; a previous one of zeros alone is none."""
        back_P = client.state["previous"] - client.sent_P
        length = norm(back_P) + 1e-16
        seen = (client.state["previous"] != 0).any(dim=-1, keepdim=True)
        return client.given(epsilon=torch.where(seen, self.rho * back_P / length, 0.0)).keep(previous=client.sent_P)

    def point(self, theta_P: Tensor, client: ClientContext, t: int) -> Tensor:
        """w + ε."""
        return theta_P + client.sent["epsilon"]


class FedLESAM(LESAM, FedAvg):
    """FedAvg with such clients. ρ = 0 is FedAvg."""

    client_state: ClassVar[tuple[str, ...]] = ("previous",)

    @property
    def one_vector(self) -> bool:
        """Yes: what it does at the end is for itself."""
        return True

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """The model that was sent."""
        return client.state, {}
