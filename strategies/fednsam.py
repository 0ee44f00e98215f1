"""FedNSAM: SAM at a look-ahead along the server's Nesterov momentum."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.algorithm.strategy import State
from fedsam.config import key
from fedsam.optim.base import ClientOptimizer, must_perturb
from fedsam.schedule.base import Clock
from fedsam.strategies.fedacg import Lookahead


class FedNSAM(Lookahead):
    """Clients are sent w̃ = w + γ m, γ the key `momentum`, and take steps of SAM from there.

    Server: m ← γ m + Δ, Δ = Σ p_k (w_k − w̃);  w ← w + m. m = 0 at first.

    Liu et al., 2026 (arXiv 2602.23827). Of the paper only the abstract could be read, which wants Nesterov momentum for
    the extrapolation and for the clients' estimate of the global perturbation; the equations are those of the authors'
    code, where the perturbation is SAM's own at the extrapolated point, with a momentum that accumulates. In that code
    it never does: m = (1 + γ) Δ after the first round, in which m = Δ; so it is here without `accumulate`. γ = 0 is
    FedSAM.
    """

    accumulate: bool = key(
        True, "m accumulates; false: m = (1 + γ) Δ as in the authors' code", "the momentum of Liu et al. 2026"
    )

    def check(self, client: ClientOptimizer) -> None:
        """Clients must perturb."""
        must_perturb(client, self.name)

    def update(self, theta_P: Tensor, delta_P: Tensor, state: State, clock: Clock) -> tuple[Tensor, State]:
        """A step along the momentum."""
        if self.accumulate:
            return super().update(theta_P, delta_P, state, clock)
        again_P = torch.where(state["momentum"].any(), self.momentum * delta_P, 0.0)
        return theta_P + again_P + delta_P, {"momentum": again_P + delta_P}
