"""Muon: momentum whose matrices are made orthogonal."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsam.config import LARGE, key
from fedsam.errors import InputError
from fedsam.optim.adamw import AdamW
from fedsam.optim.base import Oracle, State
from fedsam.params import Layout

A, B, C = 3.4445, -4.7750, 2.0315
"""Of the quintic; Jordan's, chosen for the steepest slope at 0."""
STEPS = 5


class Muon(AdamW):
    """For each weight matrix W [n, m]:  V ← μ V + (1 − μ) G,  U = μ V + (1 − μ) G,
    W ← (1 − lr λ) W − lr · √max(1, n/m) · NS₅(U);  everything else by AdamW at the learning rate `rest` · lr.

    NS₅ is five steps of the iteration X ← a X + (b A + c A²) X, A = X Xᵀ, from X = U / (‖U‖_F + 1e-7), which brings
    singular values near 1 (between about 0.7 and 1.2) and keeps the singular vectors (Jordan et al., "Muon: an
    optimizer for hidden layers in neural networks", 2024, and the code of that name, where it runs in bfloat16; here in
    the run's precision). A convolution's weight is a matrix with a row for each output channel. Without `nesterov` U =
    V.

    A matrix is a tensor of two or more dimensions. Jordan hands embeddings and the output layer to AdamW as well; which
    ones these are a list of tensors does not tell, so `skip` names them. lr is in units of a spectral norm: 0.02 is
    Jordan's. All buffers start at zero in every round. Whoever wraps it calls `follow`, which knows the tensors.
    """

    momentum: float = key(0.95, "μ, of the matrices", "Jordan et al. 2024", ge=0.0, lt=1.0)
    nesterov: bool = key(True, "Nesterov's momentum, of the matrices", "Jordan et al. 2024")
    rest: float = key(
        0.015,
        "learning rate of AdamW for all that is no matrix, as a multiple of lr",
        "Jordan's example: 3e-4 beside 0.02",
        ge=0.0,
        le=LARGE,
    )
    skip: str | None = key(
        None, "parts of names, comma-separated, of matrices that AdamW steps as well; none = none of them", "convention"
    )

    def check_model(self, layout: Layout) -> None:
        """Refuse a model of whose matrices `skip` names none, or all.

        Raises:
            InputError: as said.
        """
        matrices = [name for name, shape in zip(layout.names, layout.shapes, strict=True) if len(shape) > 1]
        if self.skip is not None and not self._skipped():
            raise InputError("skip", self.skip, f"names no matrix; of this model there are {', '.join(matrices)}")
        for part in self._skipped():
            if not any(part in name for name in matrices):
                raise InputError("skip", part, f"is in the name of no matrix of this model: {', '.join(matrices)}")
        if not self._matrices(layout):
            why = "names all matrices of this model" if matrices else "this model has no matrices"
            raise InputError("skip", self.skip, f"{why}, so all would be AdamW's; use adamw")

    def init(self, theta_P: Tensor) -> State:
        """AdamW's state and V, zeros."""
        return super().init(theta_P) | {"momentum": torch.zeros_like(theta_P)}

    def follow(
        self, theta_P: Tensor, state: State, direction_P: Tensor, oracle: Oracle, lr: float | Tensor
    ) -> tuple[Tensor, State]:
        """One step."""
        gradient_P = oracle.descent(direction_P, theta_P)
        adam = {name: vector_P for name, vector_P in state.items() if name != "momentum"}
        rest_P, adam = super().descend(theta_P, adam, gradient_P, lr * self.rest)
        gradient_P = self.clipped(gradient_P)
        velocity_P = self.momentum * state["momentum"] + (1 - self.momentum) * gradient_P
        along_P = self.momentum * velocity_P + (1 - self.momentum) * gradient_P if self.nesterov else velocity_P
        matrix_P = theta_P * (1 - lr * self.weight_decay) - lr * self._orthogonal(along_P, oracle.layout)
        mask_P = oracle.layout.where(self._matrices(oracle.layout), theta_P.device)
        return torch.where(mask_P, matrix_P, rest_P), adam | {"momentum": velocity_P}

    def descend(self, theta_P: Tensor, state: State, gradient_P: Tensor, lr: float | Tensor) -> tuple[Tensor, State]:
        """It cannot: which numbers are a matrix only a layout says.

        Raises:
            TypeError: always.
        """
        raise TypeError("muon needs to know the tensors: call follow(..., oracle, lr) instead of descend")

    def _skipped(self) -> list[str]:
        return [part.strip() for part in self.skip.split(",") if part.strip()] if self.skip else []

    def _matrices(self, layout: Layout) -> set[str]:
        parts = self._skipped()
        return {
            name
            for name, shape in zip(layout.names, layout.shapes, strict=True)
            if len(shape) > 1 and not any(part in name for part in parts)
        }

    def _orthogonal(self, vector_P: Tensor, layout: Layout) -> Tensor:
        """√max(1, n/m) · NS₅ of each matrix, zeros elsewhere."""
        matrices, pieces = self._matrices(layout), torch.split(vector_P, layout.sizes, dim=-1)
        found = []
        for name, shape, piece in zip(layout.names, layout.shapes, pieces, strict=True):
            if name not in matrices or not piece.shape[-1]:
                found.append(torch.zeros_like(piece))
                continue
            matrix = piece.reshape(*piece.shape[:-1], shape[0], -1)
            scale = max(1.0, matrix.shape[-2] / matrix.shape[-1]) ** 0.5
            found.append((scale * newton_schulz(matrix)).flatten(-2))
        return torch.cat(found, dim=-1)


def newton_schulz(matrix: Tensor, steps: int = STEPS) -> Tensor:
    """A matrix, [..., n, m], with its singular values brought near 1."""
    wide = matrix.shape[-2] <= matrix.shape[-1]
    x = matrix if wide else matrix.mT
    x = x / ((x * x).sum(dim=(-2, -1), keepdim=True).sqrt() + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = A * x + (B * gram + C * (gram @ gram)) @ x
    return x if wide else x.mT
