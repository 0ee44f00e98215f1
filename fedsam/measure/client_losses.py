"""A model's loss on clients' training examples.

Shapes: K clients, P parameters, S statistics of batch normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from fedsam.data.base import Federation, Split
from fedsam.engine.context import RunContext
from fedsam.measure.evaluate import evaluate


def client_losses(
    context: RunContext, federation: Federation, ids: Sequence[int], theta_P: Tensor, statistics: Sequence[Tensor]
) -> np.ndarray:
    """F_k(theta), the mean loss over each client's training examples as they are stored, without augmentation; in full
    precision, float64 [K]; 0 for a client that has none, or whose data cannot be read.

    Args:
        ids: the clients.
        statistics: of a model with batch normalisation, one vector [S].
    """
    found = np.zeros(len(ids))
    for row, client in enumerate(ids):
        try:
            store, (own,) = federation.examples([client])
        except Exception:  # it is said where the client is to be trained
            continue
        if len(own):
            local = context.place(Split(store.inputs[own], store.targets[own]))
            found[row], _ = evaluate(context, theta_P, local, *statistics)
    return found
