"""A model's loss on clients' training examples.

Shapes: K clients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedsam.data.base import Federation, Split
from fedsam.engine.context import RunContext
from fedsam.measure.evaluate import evaluate
from fedsam.params import Weights


def client_losses(context: RunContext, federation: Federation, ids: Sequence[int], weights: Weights) -> np.ndarray:
    """F_k(theta), the mean loss over each client's training examples as they are stored, without augmentation; in full
    precision, float64 [K]; 0 for a client that has none, or whose data cannot be read.

    Args:
        ids: the clients.
        weights: of the model.
    """
    found = np.zeros(len(ids))
    for row, client in enumerate(ids):
        try:
            store, (own,) = federation.examples([client])
        except Exception:  # it is said where the client is to be trained
            continue
        if len(own):
            local = context.place(Split(store.inputs[own], store.targets[own]))
            found[row], _ = evaluate(context, weights, local)
    return found
