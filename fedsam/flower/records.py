"""Between a flat parameter vector and Flower's records.

Shapes: P parameters.
"""

from __future__ import annotations

import numpy as np
from flwr.app import Array, ArrayRecord
from torch import Tensor

from fedsam.engine.task import shared
from fedsam.params import Layout


def arrays_of(layout: Layout, theta_P: Tensor) -> ArrayRecord:
    """The trainable parameters by name."""
    views = layout.views(theta_P.detach().cpu())
    return ArrayRecord({name: Array(np.ascontiguousarray(view.numpy())) for name, view in views.items()})


def theta_from(layout: Layout, arrays: ArrayRecord, like_P: Tensor) -> Tensor:
    """The flat vector of these arrays, with the type and on the device of `like_P`.

    Raises:
        InputError: an array is missing or has another shape.
    """
    tensors = {name: shared(array.numpy()) for name, array in arrays.items()}
    return layout.flatten(tensors).to(like_P)
