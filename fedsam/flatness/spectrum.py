"""The spectrum of the Hessian: largest eigenvalues, trace and density, from products with vectors alone.

Shapes: P parameters, K vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedsam.errors import RunError
from fedsam.flatness.draws import normal, signs
from fedsam.flatness.lanczos import Lanczos, largest
from fedsam.flatness.landscape import Landscape

TINY = 64
"""Parameters up to which the Hessian is made whole."""
PRODUCTS = 2000
"""With the Hessian, until eigenvalues are given up."""
BASIS = 2**29
"""Bytes of Lanczos's basis, if 20 vectors, and twice as many as are wanted, take no more."""
MOST = 120
"""Vectors of the basis."""

Products = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Eigen:
    """The largest eigenvalues of a Hessian.

    Args:
        values: λ₁ ≥ λ₂ ≥ ..., in the units of the loss.
        residuals: ‖H v − λ v‖₂ with ‖v‖₂ = 1; some eigenvalue of H is at most so far from λ.
        vectors_PK: v, one in each column.
    """

    values: list[float]
    residuals: list[float]
    vectors_PK: Tensor

    @property
    def ratio(self) -> float | None:
        """λ₁ / λ₅ (Jastrzębski et al., ICLR 2020); None where λ₅ is missing or not above 0."""
        return self.values[0] / self.values[4] if len(self.values) > 4 and self.values[4] > 0 else None


@dataclass(frozen=True)
class Density:
    """The density of the eigenvalues, Σ_i weight_i · N(λ; node_i, width²), on a grid; its integral is 1."""

    grid: list[float]
    density: list[float]
    width: float


def dense(landscape: Landscape, theta_P: Tensor) -> Tensor:
    """∇²L(θ), [P, P], made symmetric; for models with few parameters."""
    hessian_PP = landscape.hvp(theta_P, torch.eye(theta_P.numel(), dtype=theta_P.dtype, device=theta_P.device))
    return (hessian_PP + hessian_PP.T) / 2


def top_eigenvalues(landscape: Landscape, theta_P: Tensor, k: int = 5, tolerance: float = 1e-3, seed: int = 0) -> Eigen:
    """The k largest eigenvalues of ∇²L(θ), algebraically, by Lanczos's method from a keyed vector; of the whole matrix
    for a model with at most `TINY` parameters.

    Args:
        k: how many; a model with fewer parameters has as many as these.
        tolerance: of each eigenvalue, relative to it; residuals, whose square bounds the error, may be larger. Of
            one that is there several times, to the last digits, copies may be missed.
        seed: keys the vector to begin with.

    Raises:
        RunError: the gradient is not finite, or the method does not converge.
    """
    if not bool(landscape.gradient(theta_P).isfinite().all()):
        raise RunError("the gradient at this model is not finite, so its Hessian has no eigenvalues")
    if theta_P.numel() <= max(TINY, k):
        values_P, vectors_PP = torch.linalg.eigh(dense(landscape, theta_P).double())
        values, vectors_PK = values_P.cpu().numpy()[::-1][:k].copy(), vectors_PP.flip(1)[:, :k].to(theta_P)
        product = landscape.hessian(theta_P, 0)
    else:
        product = landscape.hessian(theta_P)
        values, vectors_PK = _lanczos_top(product, theta_P, k, tolerance, seed)
    error_PK = product(vectors_PK) - vectors_PK * torch.from_numpy(values).to(theta_P)
    return Eigen(values.tolist(), torch.linalg.vector_norm(error_PK, dim=0).tolist(), vectors_PK)


def vectors_kept(parameters: int, k: int) -> int:
    """For how many vectors of Lanczos's basis there is room."""
    return min(parameters, max(2 * k + 1, 20, min(BASIS // (8 * parameters), MOST)))


def _lanczos_top(product: Products, theta_P: Tensor, k: int, tolerance: float, seed: int) -> tuple[np.ndarray, Tensor]:
    def fresh(number: int) -> Tensor:
        return normal(theta_P, seed, "lanczos", number)

    room = vectors_kept(theta_P.numel(), k)
    lanczos = Lanczos(lambda vector_P: product(vector_P[:, None])[:, 0], fresh(0), room)
    found = largest(lanczos, k, tolerance, fresh, PRODUCTS)
    if found is None:
        raise RunError(
            f"no eigenvalues of the Hessian were found by {PRODUCTS} products; ask for fewer or raise the tolerance"
        )
    return found


def hutchinson(landscape: Landscape, theta_P: Tensor, vectors: int = 30, seed: int = 0) -> tuple[float, float]:
    """tr ∇²L(θ) and its standard error: the mean of vᵀ H v over vectors of random signs (Hutchinson, 1990).

    Args:
        vectors: at least 2 for an error; with one it is infinite.
    """
    signs_PK = torch.stack([signs(theta_P, seed, "trace", n) for n in range(vectors)], dim=1)
    return _mean_and_error(_quadratic(signs_PK, landscape.hvp(theta_P, signs_PK)))


def trace(landscape: Landscape, theta_P: Tensor, vectors: int = 30, seed: int = 0) -> tuple[float, float]:
    """tr ∇²L(θ) and its standard error, by Hutch++ (Meyer et al., SOSA 2021, algorithm 1):

        tr(Qᵀ H Q) + 1/m Σ_i g_iᵀ (I − Q Qᵀ) H (I − Q Qᵀ) g_i

    with Q an orthonormal basis of H S, and S and g of random signs, m of each. The first term is exact, so that the
    error is that of the mean. A model with at most `vectors` parameters gets the exact trace.

    Args:
        vectors: products of the Hessian and a vector, 3 m; rounded down to a multiple of 3, at least 6.
    """
    size = theta_P.numel()
    if size <= vectors:
        return float(dense(landscape, theta_P).diagonal().sum(dtype=torch.float64)), 0.0
    m = max(2, vectors // 3)
    sketch_PK = torch.stack([signs(theta_P, seed, "trace sketch", n) for n in range(m)], dim=1)
    basis_PK, _ = torch.linalg.qr(landscape.hvp(theta_P, sketch_PK))
    inside = float(_quadratic(basis_PK, landscape.hvp(theta_P, basis_PK)).sum())
    rest_PK = torch.stack([signs(theta_P, seed, "trace", n) for n in range(m)], dim=1)
    rest_PK = rest_PK - basis_PK @ (basis_PK.T @ rest_PK)
    outside, error = _mean_and_error(_quadratic(rest_PK, landscape.hvp(theta_P, rest_PK)))
    return inside + outside, error


def _quadratic(vectors_PK: Tensor, products_PK: Tensor) -> Tensor:
    return (vectors_PK * products_PK).sum(dim=0, dtype=torch.float64)


def _mean_and_error(sample_K: Tensor) -> tuple[float, float]:
    count = len(sample_K)
    return float(sample_K.mean()), float(sample_K.std()) / math.sqrt(count) if count > 1 else math.inf


def density(
    landscape: Landscape, theta_P: Tensor, steps: int = 30, probes: int = 3, seed: int = 0, points: int = 512
) -> Density:
    """The density of the eigenvalues of ∇²L(θ), by stochastic Lanczos quadrature: for each probe the eigenvalues of
    Lanczos's tridiagonal matrix are nodes, the squared first entries of its eigenvectors their weights (Ghorbani et
    al., ICML 2019; Yao et al., PyHessian, 2020). Its moments up to 2 · steps − 1 are those of the probes.

    Args:
        steps: of Lanczos's method; fewer where it ends by itself.
        probes: vectors of random signs.
        points: of the grid, which reaches 5 kernel widths beyond the outermost nodes. The kernel is a Gaussian whose
            standard deviation is 0.01 of the distance between these, and at least 1e-4 of their magnitude.
    """
    product = landscape.hessian(theta_P)
    pairs = [_quadrature(product, signs(theta_P, seed, "density", n), steps) for n in range(probes)]
    nodes = np.concatenate([nodes for nodes, _ in pairs])
    weights = np.concatenate([weights for _, weights in pairs]) / probes
    low, high = nodes.min(), nodes.max()
    width = 0.01 * float(max(high - low, 0.01 * abs(low), 0.01 * abs(high), 1e-9))
    grid = np.linspace(low - 5 * width, high + 5 * width, points)
    kernel = np.exp(-0.5 * ((grid[:, None] - nodes) / width) ** 2) / (math.sqrt(2 * math.pi) * width)
    return Density(grid.tolist(), (kernel @ weights).tolist(), width)


def _quadrature(product: Products, probe_P: Tensor, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of one probe."""
    lanczos = Lanczos(lambda vector_P: product(vector_P[:, None])[:, 0], probe_P, steps)
    while not lanczos.full and lanczos.step():  # it ends where the probe's part of the space is exhausted
        pass
    matrix = lanczos.matrix_MM[: lanczos.made, : lanczos.made]
    nodes, vectors = np.linalg.eigh(matrix)
    return nodes, vectors[0] ** 2
