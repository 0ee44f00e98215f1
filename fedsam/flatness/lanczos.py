"""Lanczos's method with full reorthogonalisation, restarted where its basis grows too large.

Shapes: P parameters, M vectors of the basis, K wanted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]
"""H v of a symmetric H, [P] to [P]."""


AROUND = 3
"""Ritz values beside those that are wanted, without which a gap says little."""


class Lanczos:
    """An orthonormal basis Q of a Krylov space, a row for each vector, and H in it: T = Q H Qᵀ.

    Args:
        product: H v.
        begin_P: the vector to begin with.
        room: vectors for which there is room; at most P are made.
    """

    def __init__(self, product: Product, begin_P: Tensor, room: int) -> None:
        self.product, self.made = product, 0
        self.basis_MP = begin_P.new_empty(min(room, begin_P.numel()), begin_P.numel())
        self.matrix_MM = np.zeros((len(self.basis_MP),) * 2)
        self.next_P = begin_P / torch.linalg.vector_norm(begin_P)
        self.beside = 0.0
        """‖H q − Q Qᵀ H q‖₂ of the last vector q: how far the space is from being closed."""

    @property
    def full(self) -> bool:
        """Whether there is no room for another vector."""
        return self.made == len(self.basis_MP)

    def step(self) -> bool:
        """Another vector; whether there is one after it, and not rounding alone."""
        self.basis_MP[self.made] = self.next_P
        self.made += 1
        own_MP = self.basis_MP[: self.made]
        rest_P = self.product(self.next_P)
        scale = float(torch.linalg.vector_norm(rest_P))
        along_M = own_MP @ rest_P
        rest_P = rest_P - own_MP.T @ along_M
        rest_P = rest_P - own_MP.T @ (own_MP @ rest_P)  # twice is enough (Parlett, 1980)
        column_M = along_M.double().cpu().numpy()
        self.matrix_MM[: self.made, self.made - 1] = self.matrix_MM[self.made - 1, : self.made] = column_M
        self.beside = float(torch.linalg.vector_norm(rest_P))
        if self.beside <= 100 * torch.finfo(rest_P.dtype).eps * scale:
            return False
        self.next_P = rest_P / self.beside
        return True

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues of T, the largest first, their vectors in the basis, a column for each, and ‖H v − θ v‖₂."""
        values_M, vectors_MM = np.linalg.eigh(self.matrix_MM[: self.made, : self.made])
        values_M, vectors_MM = values_M[::-1], vectors_MM[:, ::-1]
        return values_M, vectors_MM, self.beside * np.abs(vectors_MM[-1])

    def vectors(self, vectors_MK: np.ndarray) -> Tensor:
        """Combinations of the basis, [P, K]."""
        own_MP = self.basis_MP[: self.made]
        return own_MP.T @ torch.from_numpy(vectors_MK.copy()).to(own_MP)

    def turn(self, fresh_P: Tensor) -> None:
        """Go on in another direction, where the space is closed: there may be more of an eigenvalue outside of it."""
        own_MP = self.basis_MP[: self.made]
        for _ in range(2):
            fresh_P = fresh_P - own_MP.T @ (own_MP @ fresh_P)
        self.next_P = fresh_P / torch.linalg.vector_norm(fresh_P)

    def restart(self, keep: int) -> None:
        """Keep the Ritz vectors of the largest Ritz values alone (thick restart, Wu and Simon, SIAM J. Matrix Anal.
        Appl. 22, 2000); the next vector stays.
        """
        values_M, vectors_MM, _ = self.ritz()
        kept_PK = self.vectors(vectors_MM[:, :keep])
        self.basis_MP[:keep] = kept_PK.T
        self.matrix_MM[:] = 0.0
        self.matrix_MM[range(keep), range(keep)] = values_M[:keep]
        self.made = keep


def largest(
    lanczos: Lanczos, k: int, tolerance: float, fresh: Callable[[int], Tensor], limit: int
) -> tuple[np.ndarray, Tensor] | None:
    """The k largest eigenvalues of H and their vectors, [P, K]; None if they are not found by so many products.

    A value is found when |λ − θ| <= tolerance |θ|, by the smaller of two bounds: r and r² / gap, with r its residual
    and the gap that to the closest other Ritz value, less the residual of that one (Parlett, The Symmetric Eigenvalue
    Problem, 1980, theorems 4.5.1 and 11.7.1).

    Args:
        lanczos: not begun.
        tolerance: relative to each eigenvalue.
        fresh: vectors, by number, for when a space is closed.
        limit: products at most.
    """
    turned = 0
    for _ in range(limit):
        closed = not lanczos.step()
        values_M, vectors_MM, residuals_M = lanczos.ritz()
        rounding = 10 * torch.finfo(lanczos.basis_MP.dtype).eps * float(np.abs(values_M).max())
        whole = lanczos.made == lanczos.basis_MP.shape[1]
        enough = lanczos.made >= k and not (closed and not whole and turned < k)
        seen = lanczos.made >= k + AROUND and _found(values_M, residuals_M, k, tolerance, rounding)
        if enough and (whole or closed or seen):
            return values_M[:k].copy(), lanczos.vectors(vectors_MM[:, :k])
        if closed:
            turned += 1
        if lanczos.full:
            lanczos.restart(k + (lanczos.made - k) // 3)
        if closed:
            lanczos.turn(fresh(turned))
    return None


def _found(values_M: np.ndarray, residuals_M: np.ndarray, k: int, tolerance: float, rounding: float) -> bool:
    errors = [_error(values_M, residuals_M, place) for place in range(k)]
    return all(error <= max(tolerance * abs(value), rounding) for error, value in zip(errors, values_M, strict=False))


def _error(values_M: np.ndarray, residuals_M: np.ndarray, place: int) -> float:
    others = np.arange(len(values_M)) != place
    residual = float(residuals_M[place])
    if not others.any():
        return residual
    gap = float((np.abs(values_M - values_M[place]) - residuals_M)[others].min())
    return min(residual, residual**2 / gap) if gap > 0 else residual
