"""FedSMOO: duals for the models and for the perturbations, so that clients agree on both."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Gathered, State
from fedsam.errors import InputError
from fedsam.optim.base import ClientOptimizer
from fedsam.optim.sam import SAM
from fedsam.strategies.fedspeed import FedSpeed


class FedSMOO(FedSpeed):
    """In each step ε = ρ v / ‖v‖ with v = g − μ_k − s, then μ_k ← μ_k + ε − s; the rest of the client is FedSpeed's.

    Server: FedSpeed's, and s ← ρ · m / ‖m‖ with m the plain mean of μ_k over the round's clients. s and every μ_k
    are 0 at first. ρ is the radius of the client's SAM.

    Sun et al., ICML 2023, algorithm 1, with the s of the authors' code. ρ = 0 is FedSpeed at ρ = 0.
    """

    client_state: ClassVar[tuple[str, ...]] = ("correction", "ascent_dual")

    def init(self, theta_P: Tensor) -> State:
        """No mean of the h_k, no s."""
        return {**super().init(theta_P), "direction": torch.zeros_like(theta_P)}

    def check(self, client: ClientOptimizer) -> None:
        """Clients must be SAM's: s has its radius."""
        if not isinstance(client, SAM):
            raise InputError("name", client.name, f"server.name={self.name} needs client.name=sam")

    def broadcast(self, state: State) -> State:
        """s / ρ."""
        return {"direction": state["direction"]}

    def begin(self, client: ClientContext) -> ClientContext:
        """Fix s."""
        assert isinstance(client.optimizer, SAM)
        return client.given(s=client.optimizer.rho * client.sent["direction"])

    def ascent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """g − μ_k − s."""
        return gradient_P - client.state["ascent_dual"] - client.sent["s"]

    def ascended(self, epsilon_P: Tensor, client: ClientContext) -> ClientContext:
        """μ_k ← μ_k + ε − s."""
        return client.keep(ascent_dual=client.state["ascent_dual"] + epsilon_P - client.sent["s"])

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """As FedSpeed; and μ_k."""
        client_state, uploads = super().finish(theta_P, client)
        return client_state, {**uploads, "ascent_dual": client.state["ascent_dual"]}

    def absorb(self, gathered: Gathered, state: State) -> State:
        """As FedSpeed; and s / ρ = m / ‖m‖, 0 where m is 0."""
        total_P = gathered.uploads["ascent_dual"]
        norm = torch.linalg.vector_norm(total_P)
        direction_P = torch.where(norm > 0, total_P / norm, 0.0)
        return {**super().absorb(gathered, state), "direction": direction_P}
