"""Between a flat parameter vector and Flower's records.

Shapes: P parameters.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict
from torch import Tensor

from fedsam.client_half import State
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
    tensors = {name: shared(_seen(array)) for name, array in arrays.items()}
    return layout.flatten(tensors).to(like_P)


def _seen(array: Array) -> np.ndarray:
    """The array's own bytes as numbers; Flower's `numpy()` copies them."""
    head = io.BytesIO(array.data)
    version = np.lib.format.read_magic(head)
    if version != (1, 0):
        return array.numpy()
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(head)
    order: Literal["F", "C"] = "F" if by_columns else "C"
    return np.frombuffer(array.data, dtype=dtype, offset=head.tell()).reshape(shape, order=order)


def vectors_of(vectors: State) -> ArrayRecord:
    """Vectors [P] by name, as they are."""
    return ArrayRecord(
        {name: Array(vector_P.detach().cpu().contiguous().numpy()) for name, vector_P in vectors.items()}
    )


def vectors_from(content: RecordDict, record: str, like_P: Tensor) -> State:
    """The vectors of a record, [1, P] by name, with the type and on the device of `like_P`; none if it is not there."""
    arrays = content.array_records.get(record) or ArrayRecord()
    return {name: shared(_seen(array))[None].to(like_P, copy=True) for name, array in arrays.items()}
