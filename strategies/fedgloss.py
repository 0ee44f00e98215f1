"""FedGloSS: the server perturbs the model before it is sent, along its own last step."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Gathered, State, Strategy
from fedsam.config import LARGE, key
from fedsam.errors import InputError
from fedsam.optim.asam import ASAM
from fedsam.optim.base import ClientOptimizer
from fedsam.optim.sam import SAM
from fedsam.schedule.base import Clock


class FedGloSS(Strategy):
    """Clients are sent w̃ = w + ρ Δ / ‖Δ‖, Δ = Σ p_k (w̃ − w_k) of the round before; w itself at first.

    Clients descend along g − σ_k + (w − w̃) / β, and then σ_k ← σ_k − (w_k − w̃) / β.
    Server: σ ← σ − (1 / (β N)) Σ_S (w_k − w̃);  w ← w − Δ − β σ. σ and every σ_k are 0 at first.

    Caldarola et al., CVPR 2025, algorithm 1; g is the client optimiser's, plain or of SAM with a radius of its own.
    ρ = 0 is FedDyn with α = 1 / β.

    With `warmup` T_s > 0 the server's radius and the clients' are, in round t from 0, ρ_0 + (ρ − ρ_0) min(t / T_s, 1)
    each. The authors' code means this too, but adds the server's step to the clients' radius where they end: there the
    server's stays near the clients' until it drops to ρ.
    """

    client_state: ClassVar[tuple[str, ...]] = ("dual",)
    derived: ClassVar[tuple[str, ...]] = ("moved",)

    rho: float = key(
        0.15, "ρ, radius of the server's perturbation", "Caldarola et al. 2025, CIFAR-10", ge=0.0, le=LARGE
    )
    beta: float = key(
        10.0, "β, inverse weight of the proximal term", "Caldarola et al. 2025, CIFAR-10", gt=0.0, le=LARGE
    )

    warmup: int = key(
        0,
        "T_s, rounds over which both radii go from initial_rho to their own; 0 = none",
        "off; 2000 of 10000 in Caldarola et al. 2025, CIFAR-10",
        ge=0,
        le=10**9,
    )
    initial_rho: float = key(
        0.001, "ρ_0, both radii at the start of a warm-up", "the code of Caldarola et al. 2025", ge=0.0, le=LARGE
    )

    def init(self, theta_P: Tensor) -> State:
        """σ = 0, Δ = 0; and that nothing of a warm-up is over."""
        state = {"dual": torch.zeros_like(theta_P), "last": torch.zeros_like(theta_P)}
        return {**state, **self._warmed(theta_P, 0)}

    def check(self, client: ClientOptimizer) -> None:
        """With a warm-up, clients that perturb must have a radius to warm up."""
        if self.warmup and client.perturbs and not isinstance(client, SAM | ASAM):
            raise InputError("name", client.name, "server.warmup warms up the radius of sam and asam; use one of them")

    def sent(self, theta_P: Tensor, state: State) -> Tensor:
        """w̃."""
        norm = torch.linalg.vector_norm(state["last"])
        rho = self.initial_rho + (self.rho - self.initial_rho) * state["warmed"] if self.warmup else self.rho
        return theta_P + torch.where(norm > 0, rho * state["last"] / norm, 0.0)

    def broadcast(self, state: State) -> State:
        """Which share of a warm-up is over."""
        return {"warmed": state["warmed"]} if self.warmup else {}

    def perturbed(self, epsilon_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """ε with the radius of the warm-up."""
        if not self.warmup:
            return epsilon_P
        assert isinstance(client.optimizer, SAM | ASAM)
        share = client.sent["warmed"]
        return epsilon_P * (share + (1 - share) * self.initial_rho / (client.optimizer.rho + 1e-16))

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        """g − σ_k + (w − w̃) / β."""
        return gradient_P - client.state["dual"] + (theta_P - client.sent_P) / self.beta

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[State, State]:
        """σ_k, and w_k − w̃, whose plain sum the server needs."""
        moved_P = theta_P - client.sent_P
        return {"dual": client.state["dual"] - moved_P / self.beta}, {"moved": moved_P}

    def absorb(self, gathered: Gathered, state: State) -> State:
        """σ, and Δ."""
        dual_P = state["dual"] - gathered.uploads["moved"] / (self.beta * gathered.population)
        return {"dual": dual_P, "last": -gathered.delta_P}

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        """w ← w − Δ − β σ."""
        return theta_P + delta_P - self.beta * state["dual"], {**state, **self._warmed(theta_P, clock.round + 1)}

    def _warmed(self, theta_P: Tensor, round: int) -> State:
        """Which share of a warm-up is over in a round."""
        return {"warmed": theta_P.new_full((1,), min(round / self.warmup, 1.0))} if self.warmup else {}
