"""FedGF: clients perturb partly towards the model that the server has perturbed, the more they diverge."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Gathered, State
from fedsam.config import LARGE, key
from fedsam.optim.base import ClientOptimizer, must_perturb, norm
from fedsam.strategies.fedavg import FedAvg


class FedGF(FedAvg):
    """Clients take their second gradient at c w_g + (1 − c) (w + ε), ε of their own perturbation, with
    w_g = w_sent − ρ_g Δ / ‖Δ‖, Δ = Σ p_k Δ_k of the round before.

    Server: FedAvg's, and c ← the share of the last W rounds in which (1/|S|) Σ_S ‖Δ_k‖ > T_D; of all rounds while there
    are fewer. c = 0 at first.

    Lee and Yoon, ICML 2024, read in the authors' code; the paper itself could not be. T_D has no default there, and the
    script that it comes with passes an option that it does not know, so a published T_D is not known: set it between
    the divergences of one's own clients. c = 0, as with a T_D that is never passed, is FedSAM.
    """

    derived: ClassVar[tuple[str, ...]] = ("divergence",)

    rho: float = key(
        0.05,
        "ρ_g, radius of the server's perturbation",
        "the code of Lee and Yoon 2024, where it is the clients', 0.02 to 0.1",
        ge=0.0,
        le=LARGE,
    )
    threshold: float = key(
        1.0, "T_D, mean length of the clients' updates beyond which they diverge", "convention", ge=0.0, le=LARGE
    )
    window: int = key(30, "W, rounds over which divergence is counted", "the code of Lee and Yoon 2024", ge=1, le=10**6)

    def init(self, theta_P: Tensor) -> State:
        """No Δ, and no round in the window: −1 stands for a round that has not been."""
        return {"last": torch.zeros_like(theta_P), "diverged": theta_P.new_full((self.window,), -1.0)}

    def check(self, client: ClientOptimizer) -> None:
        """Clients must perturb."""
        must_perturb(client, self.name)

    def broadcast(self, state: State) -> State:
        """w_g − w_sent, and c."""
        been = (state["diverged"] >= 0).to(state["last"])
        share = (state["diverged"] * been).sum(dim=-1, keepdim=True) / been.sum(dim=-1, keepdim=True).clamp(min=1)
        length = norm(state["last"])
        return {"ahead": torch.where(length > 0, -self.rho * state["last"] / length, 0.0), "share": share}

    def perturbed(self, epsilon_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """c (w_g − w) + (1 − c) ε."""
        share = client.sent["share"]
        return share * (client.sent_P + client.sent["ahead"] - theta_P) + (1 - share) * epsilon_P

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """‖Δ_k‖, whose plain mean the server needs."""
        return {}, {"divergence": norm(theta_P - client.sent_P)}

    def absorb(self, gathered: Gathered, state: State) -> State:
        """Δ, and whether the clients diverged, in the place of what the window leaves behind."""
        diverged = (gathered.uploads["divergence"] / gathered.clients > self.threshold).to(state["diverged"])
        return {"last": gathered.delta_P, "diverged": torch.cat([state["diverged"][1:], diverged])}
