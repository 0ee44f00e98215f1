"""A model's arrays, as Flower has them, and the one vector that strategies and averages work on.

Shapes: P parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, MetricRecord
from torch import Tensor

from fedsam.algorithm.strategy import Average, State
from fedsam.errors import InputError
from fedsam.flower.records import theta_from
from fedsam.params import Layout

Evaluate = Callable[[int, ArrayRecord], MetricRecord | None]
"""What Flower's `start` calls with each round's model, as `evaluate_fn`."""


def of_served(evaluate: Evaluate | None, served: Callable[[ArrayRecord], ArrayRecord]) -> Evaluate | None:
    """The same of the model that is served, given the one that clients are sent; None if there is none."""
    return None if evaluate is None else lambda server_round, arrays: evaluate(server_round, served(arrays))


@dataclass(frozen=True)
class Form:
    """How a model's arrays become one vector and back: the types of all of them in their order, the layout of the
    floating-point ones, and the names of the others.
    """

    dtypes: dict[str, np.dtype[Any]]
    layout: Layout
    whole: tuple[str, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, arrays: ArrayRecord) -> Form:
        """That of these arrays.

        Raises:
            InputError: one is neither real nor integer, or none is real.
        """
        found = {name: array.numpy() for name, array in arrays.items()}
        other = next((name for name, array in found.items() if array.dtype.kind not in "fiub"), None)
        if other is not None:
            raise InputError("", InputError.ABSENT, f"array {other!r} has type {found[other].dtype}, no real number")
        real = {name: array for name, array in found.items() if array.dtype.kind == "f"}
        if not real:
            raise InputError("", InputError.ABSENT, "there is no floating-point array to aggregate")
        dtype = torch.float64 if any(array.dtype == np.float64 for array in real.values()) else torch.float32
        layout = Layout(tuple(real), tuple(array.shape for array in real.values()))
        whole = tuple(name for name in found if name not in real)
        return cls({name: array.dtype for name, array in found.items()}, layout, whole, dtype)

    def theta(self, arrays: ArrayRecord) -> Tensor:
        """The floating-point arrays as one vector.

        Raises:
            InputError: one is missing or has another shape.
        """
        if lacking := [name for name in self.whole if name not in arrays]:
            raise InputError("", InputError.ABSENT, f"there is no array {lacking[0]!r}")
        return theta_from(self.layout, arrays, torch.empty(0, dtype=self.dtype))

    def arrays(self, theta_P: Tensor, whole: Mapping[str, np.ndarray]) -> ArrayRecord:
        """The arrays of this vector, with the others as given."""
        views = {name: view.numpy() for name, view in self.layout.views(theta_P).items()} | dict(whole)
        return ArrayRecord(
            {name: Array(np.array(views[name], dtype=dtype, order="C")) for name, dtype in self.dtypes.items()}
        )


def served(form: Form, arrays: ArrayRecord, average: Average, state: State) -> ArrayRecord:
    """The model to evaluate and keep, from the raw one: the average, with the raw one's other arrays as they are."""
    theta_P = form.theta(arrays)
    served_P = average.served(theta_P, state)
    if served_P is theta_P:
        return arrays
    made = form.arrays(served_P, {name: arrays[name].numpy() for name in form.whole})
    return ArrayRecord({name: arrays[name] if name in form.whole else made[name] for name in made})
