"""q-FedAvg: clients with larger losses weigh more."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import LOSS, ClientContext
from fedsam.algorithm.strategy import Gathered, State
from fedsam.config import key
from fedsam.optim.base import norm
from fedsam.schedule.base import Clock
from fedsam.strategies.fedavg import FedAvg

SMALL = 1e-10
"""Added to losses, as in the authors' code: 0 to the power of q − 1 is infinite."""


class QFedAvg(FedAvg):
    """w ← w + lr · Σ F_k^q Δ_k / Σ (F_k^q + q F_k^(q−1) ‖Δ_k‖² / client lr), the sums over the round's clients.

    F_k is the mean loss of w on the client's training examples, before its round. Li et al., ICLR 2020 (q-FFL),
    algorithm 2, with the Lipschitz constant L = 1 / client lr as there; numerator and denominator are divided by L. Its
    clients are sampled by examples: `system.sampling=weighted`. q = 0 is FedAvg where all clients have as many
    examples. Clients that do not step with SGD take the same formula.
    """

    client_numbers: ClassVar[tuple[str, ...]] = (LOSS,)
    derived: ClassVar[tuple[str, ...]] = ("pull",)

    q: float = key(
        1.0, "q, how much larger losses weigh", "Li et al. 2020, 1 on two of their four tasks", ge=0.0, le=100.0
    )

    def init(self, theta_P: Tensor) -> State:
        """No step."""
        return {"step": torch.zeros_like(theta_P)}

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """F_k^q Δ_k, and its part of the denominator."""
        moved_P, loss = theta_P - client.sent_P, client.state[LOSS] + SMALL
        weight = loss**self.q
        curvature = weight + self.q * loss ** (self.q - 1) * norm(moved_P).square() / client.lr
        return client.state, {"pull": weight * moved_P, "curvature": curvature}

    def absorb(self, gathered: Gathered, state: State) -> State:
        """The step."""
        return {"step": gathered.uploads["pull"] / gathered.uploads["curvature"]}

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        """It is taken."""
        return theta_P + self.lr * state["step"], state
