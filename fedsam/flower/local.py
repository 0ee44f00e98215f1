"""The client's side of a message: what the ClientApp does, as functions that other ClientApps can call.

Shapes: P parameters.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from flwr.app import ArrayRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode
from torch import Tensor

from fedsam.algorithm.client_hooks import LOSS, State
from fedsam.data.base import Federation, Split
from fedsam.engine.context import RunContext, numerics
from fedsam.engine.isolate import failure
from fedsam.engine.loop import Loop, LoopTrainer
from fedsam.engine.support.allocator import keep_freed_memory
from fedsam.errors import InputError
from fedsam.federated.build import assemble
from fedsam.flower.names import (
    ARRAYS,
    CLIENT_STATE,
    EXAMPLES,
    METRICS,
    PARTITION,
    TRANSFORMED,
    config_of,
    identity,
    introduce,
)
from fedsam.flower.records import (
    answer_of,
    arrays_of,
    order_from,
    statistics_from,
    theta_from,
    vectors_from,
    vectors_of,
)
from fedsam.measure.client_losses import client_losses
from fedsam.measure.evaluate import evaluate as evaluate_on
from fedsam.models.batchnorm import NAME as BATCHNORM
from fedsam.params import Weights, theta_of
from fedsam.run import Run


@dataclass(frozen=True)
class ClientData:
    """What a client has: its share of the data is that of its partition in `federation`."""

    run: Run
    federation: Federation
    context: RunContext
    trainer: LoopTrainer


@lru_cache(maxsize=2)
def _site(keys: str) -> ClientData:
    return _built(Run.from_keys(json.loads(keys)))


def _built(run: Run) -> ClientData:
    federation, context = assemble(run)
    if context.device.type == "cpu":
        keep_freed_memory()
    settings = {field: getattr(run.engine, field) for field in Loop.model_fields}
    return ClientData(run, federation, context, Loop(**settings).start(context, federation))


def initial_arrays(run: Run) -> ArrayRecord:
    """The initial global model of a run, by parameter name, with the running statistics of batch normalisation if these
    are averaged as the weights; for a server of one's own.

    Raises:
        InputError: data or model cannot be had.
    """
    _, context = assemble(run)
    theta_P = theta_of(context.module).to(context.device, context.dtype)
    return arrays_of(context.layout, theta_P, _buffers(context, context.initial(theta_P).statistics))


def _buffers(context: RunContext, statistics: tuple[Tensor, ...]) -> State:
    """The buffers that go with a model to and from a server of one's own."""
    averaged = context.batchnorms is not None and context.strategy.batchnorm == "average"
    return context.batchnorms.buffers(statistics[0]) if context.batchnorms and averaged else {}


def site_of(message: Message, node: Context, run: Run | None = None) -> ClientData:
    """The data and the task that a message is about; built when they are first asked for, and kept in this process.

    Keys of a group in the node's own configuration (`data.root`, `engine.device`) win over those of the message.

    Args:
        message: its config holds the run's keys as `run`, unless `run` is given.
        context: of the node.
        run: the description to use instead.

    Raises:
        InputError: there is no description, or it cannot be built here.
    """
    config = config_of(message)
    if run is not None:
        keys = run.keys()
    elif "run" in config:
        keys = json.loads(str(config["run"]))
    else:
        raise InputError("run", InputError.ABSENT, "the message's config holds no run; give one to the function")
    keys |= {name: value for name, value in node.node_config.items() if "." in name}
    keys |= {"engine.name": "loop", "out": None}
    for name in [name for name in keys if name.startswith("engine.")]:
        if name.removeprefix("engine.") not in {"name", *Loop.model_fields}:
            del keys[name]
    return _site(json.dumps(keys, sort_keys=True))


def train(message: Message, node: Context, run: Run | None = None) -> Message:
    """Train the node's client from the weights in a message, and answer with the trained weights. Vectors that a client
    of the run's strategy keeps from round to round are in the node's `context.state`.

    The message holds `arrays` (the global model's parameters by name, and the running statistics of batch normalisation
    if they are averaged) and `config`: `server-round` (from 1), and optionally `lr` (the client learning rate of this
    round; without it that of the run's schedule) and `steps` (how many of its local steps the client takes, the first
    ones, at least 1; without it all). The answer holds `arrays` (the client's, likewise) and `metrics`: `num-examples`,
    `train_loss`, `partition-id`. What goes wrong is answered as an error whose reason is one line and the traceback.

    Args:
        message: as above; its config may hold the run's keys as `run`.
        context: of the node; `partition-id` in its configuration is the client.
        run: the description of data, model and client, unless the message holds one.
    """
    return _answered(message, node, run, _train)


def _train(message: Message, node: Context, data_of_client: ClientData, client: int) -> RecordDict:
    context, run, layout = data_of_client.context, data_of_client.run, data_of_client.context.layout
    if context.transforms and TRANSFORMED not in config_of(message):
        allowed = "other servers do not know what clients would send; run fedsam's own ServerApp, or leave them out"
        raise InputError("privacy.name, compress.name", InputError.ABSENT, allowed)
    theta_P = theta_from(layout, _arrays(message), torch.empty(0, dtype=context.dtype, device=context.device))
    with numerics(run.engine.precision):
        torch.set_num_threads(run.engine.threads or 1)
        kept = vectors_from(node.state, CLIENT_STATE, theta_P)
        kept = kept or {name: theta_P.new_zeros(1, size) for name, size in context.client_state.items()}
        order = order_from(message.content, client, run.client.base_optimizer.lr, kept, theta_P)
        norms = context.batchnorms if context.strategy.batchnorm == "average" else None
        alone = norms is not None and BATCHNORM not in order.sent
        if alone and norms:
            order.sent[BATCHNORM] = statistics_from(norms, _arrays(message), theta_P)
        if LOSS in context.strategy.client_numbers:
            weights = Weights(theta_P, (order.sent[BATCHNORM],) if norms else ())
            loss = client_losses(context, data_of_client.federation, [client], weights)
            order.client_state[LOSS] = theta_P.new_tensor(loss)[None]
        store, (plan,) = context.plan(data_of_client.federation, order)
        done = data_of_client.trainer.one(theta_P, context.store(store), plan, order)
    buffers = _buffers(context, (done.uploads.pop(BATCHNORM) / order.weight_K[0],)) if alone else {}
    payload = None
    if order.transformed and context.transforms:
        update_1P = done.update(theta_P)[None]
        made = context.transforms.client(update_1P, order.ids, order.round, order.sent, order.client_state)
        done.client_state.update({name: kept_1P[0] for name, kept_1P in made.client_state.items()})
        done.uploads.update({name: told_1n[0] for name, told_1n in made.told.items()})
        payload = {name: each_1n[0] for name, each_1n in made.payload.items()}
    if done.client_state:
        node.state[CLIENT_STATE] = vectors_of(done.client_state)
    return answer_of(done, layout, buffers, payload, **{EXAMPLES: plan.examples, PARTITION: client})


def evaluate(message: Message, node: Context, run: Run | None = None) -> Message:
    """Evaluate the weights in a message on the local test set of the node's client (`data.local_test`).

    The answer holds `metrics`: `num-examples`, `loss`, the headline metric (`accuracy`), `partition-id`. Arguments as
    for `train`.
    """
    return _answered(message, node, run, _evaluate)


def _evaluate(message: Message, node: Context, data_of_client: ClientData, client: int) -> RecordDict:
    context = data_of_client.context
    store, (index,) = data_of_client.federation.local_test([client])
    if not len(index):
        raise InputError(
            "data.local_test", data_of_client.run.data.local_test, f"client {client} holds out no test examples"
        )
    theta_P = theta_from(context.layout, _arrays(message), torch.empty(0, dtype=context.dtype, device=context.device))
    with numerics(data_of_client.run.engine.precision):
        torch.set_num_threads(data_of_client.run.engine.threads or 1)
        local = context.place(Split(store.inputs[index], store.targets[index]))
        loss, value = evaluate_on(context, _weights(message, node, context, theta_P), local)
    metrics = MetricRecord({EXAMPLES: len(index), "loss": loss, context.task.headline.name: value, PARTITION: client})
    return RecordDict({METRICS: metrics})


def _weights(message: Message, node: Context, context: RunContext, theta_P: Tensor) -> Weights:
    """What the client evaluates, with its own statistics, or with those that came with the model."""
    if context.batchnorms is None:
        return Weights(theta_P)
    if context.strategy.batchnorm == "average":
        return Weights(theta_P, (statistics_from(context.batchnorms, _arrays(message), theta_P),))
    initial_S, kept = context.batchnorms.initial(theta_P), vectors_from(node.state, CLIENT_STATE, theta_P)
    return Weights(theta_P, (initial_S + kept[BATCHNORM][0] if BATCHNORM in kept else initial_S,))


def query(message: Message, node: Context, run: Run | None = None) -> Message:
    """Say who the node is: `metrics` with `partition-id`, `num-partitions` where it knows, and `num-examples` where the
    message or `run` describes the data.
    """
    if run is None and "run" not in config_of(message):
        return introduce(message, node)
    return _answered(message, node, run, _counted)


def _counted(message: Message, node: Context, data_of_client: ClientData, client: int) -> RecordDict:
    examples = {EXAMPLES: int(data_of_client.federation.sizes([client])[0])}
    return RecordDict({METRICS: MetricRecord({**identity(node), **examples})})


def _answered(message: Message, node: Context, run: Run | None, work: Any) -> Message:
    try:
        client, data_of_client = int(node.node_config[PARTITION]), site_of(message, node, run)
        if not 0 <= client < data_of_client.federation.clients:
            raise InputError(PARTITION, client, f"there are {data_of_client.federation.clients} clients, from 0 on")
        return Message(work(message, node, data_of_client, client), reply_to=message)
    except Exception as error:
        found = failure(-1, error)
        reason = f"{found.error}\n{found.trace}"
    return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)


def _arrays(message: Message) -> ArrayRecord:
    if ARRAYS not in message.content.array_records:
        raise InputError(ARRAYS, InputError.ABSENT, "the message holds no weights")
    return message.content.array_records[ARRAYS]
