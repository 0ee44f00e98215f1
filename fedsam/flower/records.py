"""Between a flat parameter vector and Flower's records.

Shapes: P parameters.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict
from torch import Tensor

from fedsam.algorithm.client_hooks import State
from fedsam.engine.context import shared
from fedsam.errors import InputError
from fedsam.models.batchnorm import BatchNorms
from fedsam.params import Layout


def arrays_of(layout: Layout, theta_P: Tensor, buffers: State | None = None) -> ArrayRecord:
    """The trainable parameters by name, and these buffers."""
    views = layout.views(theta_P.detach().cpu())
    views |= {name: buffer.detach().cpu() for name, buffer in (buffers or {}).items()}
    return ArrayRecord({name: Array(np.require(view.numpy(), requirements="C")) for name, view in views.items()})


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


def statistics_from(norms: BatchNorms, arrays: ArrayRecord, like_P: Tensor) -> Tensor:
    """The running statistics of batch normalisation among these arrays, [S], with the type and on the device of
    `like_P`.

    Raises:
        InputError: an array is missing.
    """
    found = {name: shared(np.atleast_1d(_seen(array))) for name, array in arrays.items()}
    try:
        return norms.vector(found, like_P)
    except KeyError as error:
        missing = f"there is no array {error}, of the model's batch normalisation"
        raise InputError("", InputError.ABSENT, missing) from None


def vectors_of(vectors: State) -> ArrayRecord:
    """Vectors [P] by name, as they are."""
    return ArrayRecord(
        {name: Array(vector_P.detach().cpu().contiguous().numpy()) for name, vector_P in vectors.items()}
    )


def vectors_from(content: RecordDict, record: str, like_P: Tensor) -> State:
    """The vectors of a record, [1, P] by name, with the type and on the device of `like_P`; none if it is not there."""
    arrays = content.array_records.get(record) or ArrayRecord()
    return {name: shared(_seen(array))[None].to(like_P, copy=True) for name, array in arrays.items()}
