"""The client's side of a message: what the ClientApp does, as functions that other ClientApps can call.

Shapes: P parameters.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode
from torch import Tensor

from fedsam.algorithm.client_hooks import State
from fedsam.data.base import Federation, Split
from fedsam.engine.base import Order
from fedsam.engine.context import Task, numerics
from fedsam.engine.isolate import failure
from fedsam.engine.loop import Loop, LoopTrainer
from fedsam.engine.support.allocator import keep_freed_memory
from fedsam.errors import InputError
from fedsam.federated.build import assemble
from fedsam.flower.names import (
    ARRAYS,
    EXAMPLES,
    METRICS,
    PARTITION,
    SENT,
    SLOTS,
    STEPS,
    UPLOADS,
    config_of,
    identity,
    introduce,
)
from fedsam.flower.records import arrays_of, statistics_from, theta_from, vectors_from, vectors_of
from fedsam.measure.evaluate import evaluate as evaluate_on
from fedsam.models.batchnorm import NAME as BATCHNORM
from fedsam.params import theta_of
from fedsam.run import Run


@dataclass(frozen=True)
class Site:
    """What a client has: its share of the data is that of its partition in `federation`."""

    run: Run
    federation: Federation
    task: Task
    trainer: LoopTrainer


@lru_cache(maxsize=2)
def _site(keys: str) -> Site:
    return _built(Run.from_keys(json.loads(keys)))


def _built(run: Run) -> Site:
    federation, task = assemble(run)
    if task.device.type == "cpu":
        keep_freed_memory()
    settings = {field: getattr(run.engine, field) for field in Loop.model_fields}
    return Site(run, federation, task, Loop(**settings).start(task, federation))


def initial_arrays(run: Run) -> ArrayRecord:
    """The initial global model of a run, by parameter name, with the running statistics of batch normalisation if these
    are averaged as the weights; for a server of one's own.

    Raises:
        InputError: data or model cannot be had.
    """
    _, task = assemble(run)
    theta_P = theta_of(task.module).to(task.device, task.dtype)
    statistics = [task.batchnorms.initial(theta_P)] if task.batchnorms else []
    return arrays_of(task.layout, theta_P, _buffers(task, *statistics))


def _buffers(task: Task, *statistics: Tensor) -> State:
    """The buffers that go with a model to and from a server of one's own."""
    averaged = task.batchnorms is not None and task.strategy.batchnorm == "average"
    return task.batchnorms.buffers(statistics[0]) if task.batchnorms and averaged else {}


def site_of(message: Message, context: Context, run: Run | None = None) -> Site:
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
    keys |= {name: value for name, value in context.node_config.items() if "." in name}
    keys |= {"engine.name": "loop", "out": None}
    for name in [name for name in keys if name.startswith("engine.")]:
        if name.removeprefix("engine.") not in {"name", *Loop.model_fields}:
            del keys[name]
    return _site(json.dumps(keys, sort_keys=True))


def train(message: Message, context: Context, run: Run | None = None) -> Message:
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
    return _answered(message, context, run, _train)


def _train(message: Message, context: Context, site: Site, client: int) -> RecordDict:
    config, task, run = config_of(message), site.task, site.run
    round = int(config.get("server-round", 1)) - 1  # type: ignore[arg-type]
    lr = float(config["lr"]) if "lr" in config else run.client.bottom.lr  # type: ignore[arg-type]
    theta_P = theta_from(task.layout, _arrays(message), torch.empty(0, dtype=task.dtype, device=task.device))
    with numerics(run.engine.precision):
        torch.set_num_threads(run.engine.threads or 1)
        sent = {name: tensor[0] for name, tensor in vectors_from(message.content, SENT, theta_P).items()}
        slots = vectors_from(context.state, SLOTS, theta_P)
        slots = slots or {name: theta_P.new_zeros(1, size) for name, size in task.slots.items()}
        alone = task.batchnorms is not None and task.strategy.batchnorm == "average" and BATCHNORM not in sent
        if alone and task.batchnorms:
            sent[BATCHNORM] = statistics_from(task.batchnorms, _arrays(message), theta_P)
        weight = float(config.get("weight", 1.0))  # type: ignore[arg-type]
        steps_K = np.array([_steps(config)], dtype=np.int64) if STEPS in config else None
        order = Order(round, lr, [client], np.array([weight]), sent=sent, slots=slots, steps_K=steps_K)
        store, (plan,) = task.plan(site.federation, order)
        client_P, loss, slot, uploads = site.trainer.one(theta_P, task.store(store), plan, order)
    buffers = _buffers(task, uploads.pop(BATCHNORM) / weight) if alone else {}
    if slot:
        context.state[SLOTS] = vectors_of(slot)
    metrics = MetricRecord({EXAMPLES: plan.examples, "train_loss": float(loss), PARTITION: client})
    more = {UPLOADS: vectors_of(uploads)} if uploads else {}
    return RecordDict({ARRAYS: arrays_of(task.layout, client_P, buffers), METRICS: metrics, **more})


def _steps(config: ConfigRecord) -> int:
    steps = int(config[STEPS])  # type: ignore[arg-type]
    if steps < 1:
        raise InputError(STEPS, steps, "must be at least 1; leave a client that is to do nothing out of the round")
    return steps


def evaluate(message: Message, context: Context, run: Run | None = None) -> Message:
    """Evaluate the weights in a message on the local test set of the node's client (`data.local_test`).

    The answer holds `metrics`: `num-examples`, `loss`, `accuracy`, `partition-id`. Arguments as for `train`.
    """
    return _answered(message, context, run, _evaluate)


def _evaluate(message: Message, context: Context, site: Site, client: int) -> RecordDict:
    task = site.task
    store, (index,) = site.federation.local_test([client])
    if not len(index):
        raise InputError("data.local_test", site.run.data.local_test, f"client {client} holds out no test examples")
    theta_P = theta_from(task.layout, _arrays(message), torch.empty(0, dtype=task.dtype, device=task.device))
    with numerics(site.run.engine.precision):
        torch.set_num_threads(site.run.engine.threads or 1)
        local = task.place(Split(store.images[index], store.labels[index]))
        loss, accuracy = evaluate_on(task, theta_P, local, *_statistics(message, context, task, theta_P))
    metrics = MetricRecord({EXAMPLES: len(index), "loss": loss, "accuracy": accuracy, PARTITION: client})
    return RecordDict({METRICS: metrics})


def _statistics(message: Message, context: Context, task: Task, theta_P: Tensor) -> list[Tensor]:
    """Those with which the client evaluates: its own, or those that came with the model."""
    if task.batchnorms is None:
        return []
    if task.strategy.batchnorm == "average":
        return [statistics_from(task.batchnorms, _arrays(message), theta_P)]
    initial_S, kept = task.batchnorms.initial(theta_P), vectors_from(context.state, SLOTS, theta_P)
    return [initial_S + kept[BATCHNORM][0] if BATCHNORM in kept else initial_S]


def query(message: Message, context: Context, run: Run | None = None) -> Message:
    """Say who the node is: `metrics` with `partition-id`, `num-partitions` where it knows, and `num-examples` where the
    message or `run` describes the data.
    """
    if run is None and "run" not in config_of(message):
        return introduce(message, context)
    return _answered(message, context, run, _counted)


def _counted(message: Message, context: Context, site: Site, client: int) -> RecordDict:
    examples = {EXAMPLES: int(site.federation.sizes([client])[0])}
    return RecordDict({METRICS: MetricRecord({**identity(context), **examples})})


def _answered(message: Message, context: Context, run: Run | None, work: Any) -> Message:
    try:
        client, site = int(context.node_config[PARTITION]), site_of(message, context, run)
        if not 0 <= client < site.federation.clients:
            raise InputError(PARTITION, client, f"there are {site.federation.clients} clients, from 0 on")
        return Message(work(message, context, site, client), reply_to=message)
    except Exception as error:
        found = failure(-1, error)
        reason = f"{found.error}\n{found.trace}"
    return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)


def _arrays(message: Message) -> ArrayRecord:
    if ARRAYS not in message.content.array_records:
        raise InputError(ARRAYS, InputError.ABSENT, "the message holds no weights")
    return message.content.array_records[ARRAYS]
