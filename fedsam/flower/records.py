"""Between what a round asks for and what comes of it, and Flower's records; both ways stand side by side, so that what
travels is added here and nowhere else.

Shapes: P parameters.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from torch import Tensor

from fedsam.algorithm.client_hooks import State
from fedsam.engine.context import shared
from fedsam.engine.messages import Order
from fedsam.engine.train_client import TrainedClient
from fedsam.errors import InputError
from fedsam.flower.names import ARRAYS, CONFIG, LOSS, METRICS, SENT, STEPS, TRANSFORMED, UPDATE, UPLOADS
from fedsam.models.batchnorm import BatchNorms
from fedsam.params import Layout


def contents_of(
    order: Order, layout: Layout, theta_P: Tensor, run: str, transforms: bool = False
) -> Iterator[RecordDict]:
    """What each client of an order is sent, in their order; what is the same for all is made once.

    Args:
        run: its keys, as JSON.
        transforms: whether the run has any.
    """
    same: dict[str, Any] = {"server-round": order.round + 1, "lr": order.lr, "run": run}
    same |= {TRANSFORMED: order.transformed} if transforms else {}
    weights = {ARRAYS: arrays_of(layout, theta_P)} | ({SENT: vectors_of(order.sent)} if order.sent else {})
    for row, weight in enumerate(order.weight_K):
        steps = {} if order.steps_K is None else {STEPS: int(order.steps_K[row])}
        yield RecordDict({**weights, CONFIG: ConfigRecord({**same, "weight": float(weight), **steps})})


def order_from(content: RecordDict, client: int, lr: float, client_state: State, like_P: Tensor) -> Order:
    """The order for one client that a message holds.

    Args:
        lr: the learning rate, if the message has none.
        client_state: what the client keeps, [1, P] by name.

    Raises:
        InputError: it asks for no step at all.
    """
    config: Any = content.config_records.get(CONFIG) or ConfigRecord()
    steps = int(config[STEPS]) if STEPS in config else None
    if steps is not None and steps < 1:
        raise InputError(STEPS, steps, "must be at least 1; leave a client that is to do nothing out of the round")
    return Order(
        round=int(config.get("server-round", 1)) - 1,
        lr=float(config.get("lr", lr)),
        ids=[client],
        weight_K=np.array([float(config.get("weight", 1.0))]),
        sent={name: vector_1P[0] for name, vector_1P in vectors_from(content, SENT, like_P).items()},
        client_state=client_state,
        steps_K=None if steps is None else np.array([steps]),
        transformed=bool(config.get(TRANSFORMED, False)),
    )


def answer_of(
    done: TrainedClient, layout: Layout, buffers: State, payload: State | None = None, **metrics: int
) -> RecordDict:
    """What a trained client answers; what it keeps stays with it.

    Args:
        buffers: that go with its weights.
        payload: of its transformed update, which goes instead of the weights.
        metrics: beside the loss.
    """
    records: dict[str, Any] = {ARRAYS: arrays_of(layout, done.theta_P, buffers)} if payload is None else {}
    records |= {UPDATE: vectors_of(payload)} if payload else {}
    records[METRICS] = MetricRecord({**metrics, LOSS: float(done.loss)})
    return RecordDict(records | ({UPLOADS: vectors_of(done.uploads)} if done.uploads else {}))


def payload_from(content: RecordDict, like_P: Tensor) -> State:
    """What travelled for a transformed update, [1, n] by name; nothing where weights did."""
    arrays = content.array_records.get(UPDATE) or ArrayRecord()
    return {name: torch.tensor(_seen(array), device=like_P.device)[None] for name, array in arrays.items()}


def trained_from(content: RecordDict, layout: Layout, like_P: Tensor) -> TrainedClient:
    """The client of an answer, [1, ...]; what it keeps stayed with it. Where its update travelled, its weights are
    those that it was sent, `like_P`.
    """
    theta_P = theta_from(layout, content.array_records[ARRAYS], like_P) if ARRAYS in content.array_records else like_P
    loss = like_P.new_tensor([float(content.metric_records[METRICS][LOSS])])  # type: ignore[arg-type]
    return TrainedClient(theta_P[None], loss, {}, vectors_from(content, UPLOADS, like_P))


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
