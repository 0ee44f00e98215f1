"""The curvature of the loss at a model in a few numbers, for a record.

Shapes: P parameters.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from fedsam.flatness.landscape import Landscape
from fedsam.flatness.spectrum import top_eigenvalues, trace


def measure(
    landscape: Landscape,
    theta_P: Tensor,
    *,
    top: int = 5,
    trace_vectors: int = 30,
    seed: int = 0,
    tolerance: float = 1e-3,
) -> dict[str, Any]:
    """Loss, gradient and curvature at a model, as plain JSON types.

    `loss`, `gradient_norm` ‖∇L‖₂, `eigenvalues` (the largest, descending), `tolerance` (of each, relative to it),
    `residuals` (of each, ‖H v − λ v‖₂), `ratio` λ₁ / λ₅ (null where there is no λ₅ above 0), `trace` with its standard
    error `trace_error`, `evaluations` (gradients over all examples, as `Landscape` counts), `seconds`, `images`
    (examples of the landscape).

    Args:
        top: eigenvalues.
        trace_vectors: products of the Hessian and a vector for the trace; 0 leaves `trace` and `trace_error` null.
        seed: keys every draw.
        tolerance: relative, of the eigenvalues.

    Raises:
        RunError: the gradient is not finite, or the eigenvalues do not converge.
    """
    began, before = time.perf_counter(), landscape.evaluations
    loss, gradient_P = landscape.loss_and_gradient(theta_P)
    eigen = top_eigenvalues(landscape, theta_P, top, tolerance, seed)
    estimate, error = trace(landscape, theta_P, trace_vectors, seed) if trace_vectors else (None, None)
    return {
        "loss": loss,
        "gradient_norm": float(torch.linalg.vector_norm(gradient_P)),
        "eigenvalues": eigen.values,
        "residuals": eigen.residuals,
        "tolerance": tolerance,
        "ratio": eigen.ratio,
        "trace": estimate,
        "trace_error": error,
        "evaluations": landscape.evaluations - before,
        "seconds": time.perf_counter() - began,
        "images": landscape.examples,
    }
