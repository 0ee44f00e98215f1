"""The clients' local test sets, evaluated in large batches where all clients have the same model.

Shapes: K clients, N test examples of all of them, P parameters, S numbers of statistics.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from fedsam.data.base import Federation, Split
from fedsam.engine.context import DeviceSplit, RunContext
from fedsam.measure.evaluate import evaluate, per_example

Scores = list[float | None]


class LocalTests:
    """What some clients hold out, one client after the other in one store on the device.

    Args:
        context: of the run.
        federation: its data.
        ids: the clients, from 0 on.
    """

    def __init__(self, context: RunContext, federation: Federation, ids: range) -> None:
        self.context, (split, index) = context, federation.local_test(ids)
        self.sizes = [len(own) for own in index]
        self.ends = np.cumsum([0, *self.sizes])
        at = np.concatenate(index)
        self.store = context.place(Split(split.inputs[at], split.targets[at]))
        self.having = [client for client in ids if self.sizes[client]]
        """Clients that hold anything out."""

    def scores(self, theta_P: Tensor, statistics: Sequence[Tensor]) -> tuple[Scores, Scores]:
        """Each client's accuracy and mean cross entropy with one model, [K]; None for clients that hold nothing out."""
        if not self.having:
            return [None] * len(self.sizes), [None] * len(self.sizes)
        losses_N, right_N = per_example(self.context, theta_P, self.store, *statistics)
        return self._means(right_N.double()), self._means(losses_N.double())

    def score(self, client: int, theta_P: Tensor, statistics: Sequence[Tensor]) -> float:
        """One client's accuracy with a model of its own."""
        own = slice(self.ends[client], self.ends[client + 1])
        return evaluate(
            self.context, theta_P, DeviceSplit(self.store.inputs[own], self.store.targets[own]), *statistics
        )[1]

    def _means(self, values_N: Tensor) -> Scores:
        parts = np.split(values_N.cpu().numpy(), self.ends[1:-1])
        return [float(part.sum() / len(part)) if len(part) else None for part in parts]
