"""Between a flat parameter vector and Flower's records.

Shapes: P parameters.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from torch import Tensor

from fedsam.params import Layout

ARRAYS, METRICS, CONFIG = "arrays", "metrics", "config"  # the names of a message's records
EXAMPLES = "num-examples"  # the weight in the metrics


def arrays_of(layout: Layout, theta_P: Tensor) -> ArrayRecord:
    """The trainable parameters by name."""
    views = layout.views(theta_P.detach().cpu())
    return ArrayRecord({name: Array(np.ascontiguousarray(view.numpy())) for name, view in views.items()})


def theta_from(layout: Layout, arrays: ArrayRecord, like_P: Tensor) -> Tensor:
    """The flat vector of these arrays, with the type and on the device of `like_P`.

    Raises:
        InputError: an array is missing or has another shape.
    """
    with warnings.catch_warnings():  # arrays of a message are read-only; they are copied at once
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tensors = {name: torch.from_numpy(array.numpy()) for name, array in arrays.items()}
    return layout.flatten(tensors).to(like_P)
