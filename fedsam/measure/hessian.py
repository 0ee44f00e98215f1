"""Flatness in the course of a run: the largest eigenvalues of the Hessian, and its trace."""

from __future__ import annotations

from typing import Any

from fedsam.border.budget import Need
from fedsam.config import key
from fedsam.measure.base import Probe, Snapshot


class Hessian(Probe):
    """The largest eigenvalues λ₁ ≥ λ₂ ≥ ... of the Hessian of the global loss at the served model, λ₁ / λ₅, and the
    trace.

    The global loss is the mean over a sample of all clients' training images, the same in every round, without
    augmentation. Caldarola et al., ECCV 2022; see `fedsam.flatness.spectrum`.
    """

    images: int = key(500, "training images of all clients on which the loss is measured", "convention", ge=1)
    top: int = key(5, "how many of the largest eigenvalues", "Caldarola et al. 2022, λ₁ / λ₅", ge=1, le=1000)
    trace_vectors: int = key(
        0, "random vectors for the trace, each one product with the Hessian; 0 = no trace", "off", ge=0, le=10**4
    )

    def needs(self, parameters: int) -> list[Need]:
        """The vectors of Lanczos's method, float64, and those for the trace."""
        if not self.every:
            return []
        from fedsam.flatness.spectrum import vectors_kept

        vectors = parameters if parameters <= self.top else vectors_kept(parameters, self.top)
        eigen = Need("geometry.top", self.top, "the vectors of its eigenvalues", 8 * vectors * parameters)
        signs = 4 * min(self.trace_vectors, parameters) * parameters
        return [eigen, Need("geometry.trace_vectors", self.trace_vectors, "its random vectors", signs)]

    def measure(self, snapshot: Snapshot) -> dict[str, Any]:
        """Eigenvalues, their ratio, the trace, loss and norm of the gradient, and what it cost."""
        from fedsam.flatness.landscape import Landscape, examples_of
        from fedsam.flatness.measure import measure

        seed = snapshot.context.seed
        split = examples_of(snapshot.federation, seed, self.images)
        landscape = Landscape(snapshot.context, split.inputs, split.targets, snapshot.served.statistics)
        found = measure(landscape, snapshot.served.theta_P, top=self.top, trace_vectors=self.trace_vectors, seed=seed)
        del found["seconds"]  # they are among the record's eval_seconds
        return found
