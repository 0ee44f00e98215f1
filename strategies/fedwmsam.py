"""FedWMSAM: clients look ahead along a personalised momentum, mixed in with a weight that adapts."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Gathered, State
from fedsam.config import LARGE, key
from fedsam.optim.base import ClientOptimizer, dot, must_not_perturb, must_step_with_sgd, norm
from fedsam.strategies.fedavg import FedAvg


class FedWMSAM(FedAvg):
    """With D_k = D + α / (1 − α) (c − c_k), in step b, from 0, of a client's K at x:

        δ = (w_sent + b D_k) − x,   g = ∇L_B(x + ρ δ / ‖δ‖),   descent along α g + (1 − α) D_k

    and then c_k⁺ = c_k − c + (w_sent − w_k) / (K_k · client lr). Server: FedAvg's, D ← − Σ p_k Δ_k / (K_k · client lr),
    c ← c + (1/N) Σ_S (c_k⁺ − c_k), and α ← (1 − λ) α + λ clip(s, 0.1, 0.9) with s the mean of 1 + cos(D, Δ_k) over the
    round's clients. D, c and every c_k are 0 at first.

    Li et al., NeurIPS 2025, from the authors' poster and README, which leave open of what the cosine is: 1 + cos, as in
    their code, is the reading in which α is small while clients agree with D and grows as they stop to. The control
    variates are those of their code too.
    """

    client_state: ClassVar[tuple[str, ...]] = ("control",)
    averaged: ClassVar[tuple[str, ...]] = ("direction",)
    derived: ClassVar[tuple[str, ...]] = ("direction", "agreement")

    rho: float = key(0.01, "ρ, radius of the perturbation", "Li et al. 2025, the best of five", ge=0.0, le=LARGE)
    alpha: float = key(0.1, "α at first, share of the client's own gradient", "Li et al. 2025", gt=0.0, lt=1.0)
    adaptation: float = key(0.01, "λ, step of α", "Li et al. 2025, the authors' code", ge=0.0, le=1.0)

    def init(self, theta_P: Tensor) -> State:
        """D = 0, c = 0, α."""
        zero_P = torch.zeros_like(theta_P)
        return {"direction": zero_P, "control": zero_P.clone(), "alpha": theta_P.new_tensor([self.alpha])}

    def check(self, client: ClientOptimizer) -> None:
        """Clients must not perturb by themselves, and step with SGD."""
        must_not_perturb(client, self.name)
        must_step_with_sgd(client, self.name)

    def broadcast(self, state: State) -> State:
        """D, c and α."""
        return state

    def begin(self, client: ClientContext) -> ClientContext:
        """D_k."""
        alpha = client.sent["alpha"]
        own_P = client.sent["direction"] + alpha / (1 - alpha) * (client.sent["control"] - client.state["control"])
        return client.given(own=own_P)

    def point(self, theta_P: Tensor, client: ClientContext, t: int) -> Tensor:
        """x + ρ δ / ‖δ‖."""
        ahead_P = (client.sent_P + t * client.sent["own"]) - theta_P
        epsilon_P: Tensor = self.rho * ahead_P / (norm(ahead_P) + 1e-16)
        return theta_P + epsilon_P

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """α g + (1 − α) D_k."""
        return client.sent["alpha"] * gradient_P + (1 - client.sent["alpha"]) * client.sent["own"]

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """c_k⁺; its change, the client's part of the next D, and 1 + cos(D, Δ_k)."""
        moved_P, direction_P = theta_P - client.sent_P, client.sent["direction"]
        mean_P = -moved_P / (client.steps * client.lr)
        change_P = mean_P - client.sent["control"]
        norms = norm(moved_P) * norm(direction_P)
        agreement = torch.where(norms > 0, 1 + dot(moved_P, direction_P) / norms, 0.0)
        uploads = {"control": change_P, "direction": mean_P, "agreement": agreement}
        return {"control": client.state["control"] + change_P}, uploads

    def absorb(self, gathered: Gathered, state: State) -> State:
        """D, c and α."""
        uploads = gathered.uploads
        agreement = (uploads["agreement"] / gathered.clients).clamp(0.1, 0.9)
        return {
            "direction": uploads["direction"],
            "control": state["control"] + uploads["control"] / gathered.population,
            "alpha": (1 - self.adaptation) * state["alpha"] + self.adaptation * agreement,
        }
