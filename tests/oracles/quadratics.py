"""A toy problem: a mini-batch's loss is ½ (θ − x)ᵀ A (θ − x), A the client's, x its own plus the batch's noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tests.oracles.federated import Gradient

STEPS = (3, 1, 5, 2, 4)
EXAMPLES = (13, 2, 31, 7, 20)


@dataclass(frozen=True)
class Quadratics:
    """Clients that differ in curvature, minimum, K_k and n_k; `identical` ones only in n_k."""

    clients: int = 5
    participants: int = 3
    steps: int | None = None  # K of every client, instead of STEPS
    identical: bool = False
    noise: float = 0.5
    dimension: int = 4
    seed: int = 0

    def normal(self, *key: int) -> Tensor:
        """Standard normal numbers [max STEPS, dimension] of this key."""
        return torch.from_numpy(np.random.default_rng([self.seed, *key]).normal(size=(max(STEPS), self.dimension)))

    @property
    def theta(self) -> Tensor:
        return self.normal(0)[0]

    def cohort(self, round: int) -> list[int]:
        rng = np.random.default_rng([self.seed, 1, round])
        return sorted(rng.permutation(self.clients)[: self.participants].tolist())

    def examples(self, client: int) -> int:
        return EXAMPLES[client % len(EXAMPLES)]

    def quadratic(self, client: int) -> tuple[Tensor, Tensor]:
        """A, all its eigenvalues above 0.3, and the minimum of the client's loss."""
        drawn = self.normal(2, client)
        A = 0.3 * torch.eye(self.dimension).double() + drawn[1:].T @ drawn[1:] / self.dimension
        return A, drawn[0]

    def batches(self, round: int, client: int) -> list[Gradient]:
        of = 0 if self.identical else client
        A, x = self.quadratic(of)
        noise = self.noise * self.normal(3, round, of)
        return [self.batch(A, x + noise[step]) for step in range(self.steps or STEPS[of % len(STEPS)])]

    def batch(self, A: Tensor, x: Tensor) -> Gradient:
        return lambda theta: A @ (theta - x)

    def optimum(self) -> Tensor:
        """The minimum of the clients' plain mean loss: (Σ A_k)⁻¹ Σ A_k x_k."""
        total, pulled = torch.zeros(self.dimension, self.dimension).double(), torch.zeros(self.dimension).double()
        for k in range(self.clients):
            A, x = self.quadratic(k)
            total, pulled = total + A, pulled + A @ x
        solution: Tensor = torch.linalg.solve(total, pulled)
        return solution
