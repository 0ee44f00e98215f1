"""Training a block of clients at once, and finding out whether that works for what is not this package's own.

Shapes: K clients of a block, B batch, P parameters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from fedsam.algorithm.client_hooks import Here, State
from fedsam.algorithm.strategy import Strategy
from fedsam.data.base import Federation, Split
from fedsam.data.plan import ClientPlan, local_steps
from fedsam.engine.base import Order
from fedsam.engine.client_batch import Rows, Stack
from fedsam.engine.context import Store, Task
from fedsam.engine.loop import steps_of
from fedsam.engine.train_client import Done, train_client
from fedsam.models.batchnorm import NAME as BATCHNORM
from fedsam.params import theta_of
from fedsam.rng import stream

SIZES = 3, 2
"""Examples of the clients that are tried, so that their batches differ."""
STEPS = 2
LR = 0.01
CLOSE = {"bf16": 0.2}
"""Difference of two updates that rounding explains, relative to their norm, in the precisions that round most."""


def train_block(
    task: Task,
    theta_P: Tensor,
    store: Store,
    plans: Sequence[ClientPlan],
    order: Order,
    trained: Callable[..., Done] = train_client,
) -> Done:
    """As `train_client` for all clients of an order, [K, ...]: on all rows as they stand where optimiser and strategy
    take rows, else under `torch.func.vmap`; what clients send beside their updates is summed.
    """
    stack, clock = Stack.of(plans, store, task.dtype), task.clock(order)

    def train(sent_P: Tensor, rows: Rows, slot: State, number: Tensor, weight: Tensor) -> Done:
        here = Here(sent_P, order.sent, slot, number, order.lr, task.optimizer, clock)
        return trained(task, store, stack.steps(rows), here, weight)

    slots = {name: kept_KP.to(theta_P) for name, kept_KP in order.slots.items()}
    number_K = torch.tensor([float(len(plan.count_T)) for plan in plans], dtype=task.dtype, device=task.device)
    weight_K = torch.from_numpy(order.weight_K).to(task.device, task.dtype)
    if task.takes_rows:
        each_KP = theta_P.expand(len(plans), -1)
        theta_KP, loss_K, slots, uploads = train(each_KP, stack.rows, slots, number_K[:, None], weight_K[:, None])
    else:
        under = vmap(train, in_dims=(None, 0, 0, 0, 0))
        theta_KP, loss_K, slots, uploads = under(theta_P, stack.rows, slots, number_K, weight_K)
    return theta_KP, loss_K, slots, {name: each_KP.sum(dim=0) for name, each_KP in uploads.items()}


def why_not(task: Task) -> str:
    """Why clients cannot be trained in blocks, in a few words; nothing if they can.

    Nobody doubts it for this package's own parts. With others, two clients are trained on made-up images, in a block
    and alone, once for a task: a model may have operations that `torch.func.vmap` lacks, or take the mean over a batch
    that is filled up.
    """
    if "train" not in task.tried:
        task.tried["train"] = _tried(task) if _doubtful(task) else ""
    return task.tried["train"]


def why_not_together(task: Task) -> str:
    """Why several models cannot be evaluated at once by `torch.func.vmap`; nothing if they can."""
    if "evaluate" not in task.tried:
        task.tried["evaluate"] = _evaluated(task) if ":" in str(task.keys.get("model.name", "")) else ""
    return task.tried["evaluate"]


def _doubtful(task: Task) -> bool:
    written = task.dense is not None or task.unfolded is not None
    parts = "client.", "server.", "data.augment", *(() if written else ("model.name",))
    return any(isinstance(value, str) and ":" in value for key, value in task.keys.items() if key.startswith(parts))


def _tried(task: Task) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of operations that vmap takes one by one
        two = Two(task)
        try:
            two.alone()
        except Exception:
            return ""  # it is not the block's fault; the round will tell whose it is
        try:
            apart = two.difference()
        except Exception as error:
            first = (str(error).strip() or "no message").splitlines()[0]
            return f"it cannot be trained in blocks ({type(error).__name__}: {first[:160]})"
    if not apart <= CLOSE.get(task.precision, 0.05):
        return f"it cannot be trained in blocks (a client's update is {apart:.0%} off: does it look at a whole batch?)"
    return ""


class Two:
    """Two clients on made-up images, trained alone and in a block."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.order, self.sent_P = _order(task, theta_of(task.module).to(task.device, task.dtype))
        split, self.plans = task.plan(MadeUp(task), self.order)
        self.store = task.place(split)

    def alone(self) -> Tensor:
        """Their weights, [K, P], each trained alone."""
        return torch.stack([self._one(row) for row in range(len(self.plans))])

    def together(self) -> Tensor:
        """Their weights, [K, P], trained in a block."""
        return train_block(self.task, self.sent_P, self.store, self.plans, self.order)[0]

    def difference(self) -> float:
        """The larger distance of the two, relative to the client's update."""
        one_KP, other_KP = self.alone(), self.together()
        moved_K = torch.linalg.vector_norm(one_KP - self.sent_P, dim=1)
        apart_K = torch.linalg.vector_norm(one_KP - other_KP, dim=1)
        # weights are rounded, however small the update
        floor = torch.finfo(self.task.dtype).eps * torch.linalg.vector_norm(self.sent_P)
        return float((apart_K / (moved_K + 100 * floor)).max())

    def _one(self, row: int) -> Tensor:
        task, part, plan = self.task, self.order.part([row]), self.plans[row]
        slot = {name: kept_KP[0].to(self.sent_P) for name, kept_KP in part.slots.items()}
        steps, weight = float(len(plan.count_T)), float(part.weight_K[0])
        here = Here(self.sent_P, part.sent, slot, steps, part.lr, task.optimizer, task.clock(part))
        return train_client(task, self.store, steps_of(plan, task.device), here, weight)[0]


def _order(task: Task, theta_P: Tensor) -> tuple[Order, Tensor]:
    strategy, sizes_K = task.strategy, np.array(SIZES)
    assert isinstance(strategy, Strategy)
    state = strategy.init(theta_P)
    sent = strategy.broadcast(state)
    if task.batchnorms is not None and strategy.batchnorm == "average":
        sent = {**sent, BATCHNORM: task.batchnorms.initial(theta_P)}
    slots = {name: torch.zeros(len(SIZES), size, dtype=task.dtype) for name, size in task.slots.items()}
    steps_K = np.minimum(STEPS, local_steps(sizes_K, task.optimizer.bottom.batch_size, task.optimizer.bottom.epochs))
    order = Order(0, LR, [0, 1], sizes_K / sizes_K.sum(), sent=sent, slots=slots, steps_K=steps_K)
    return order, strategy.sent(theta_P, state)


def _evaluated(task: Task) -> str:
    inputs = task.normalise(task.place(MadeUp(task).split).images)
    theta_P = theta_of(task.module).to(task.device, task.dtype)
    theta_KP = torch.stack([theta_P, 1.01 * theta_P])
    statistics = (task.batchnorms.initial(theta_P),) if task.batchnorms else ()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            together = vmap(lambda theta_P: task.logits(theta_P, inputs, *statistics))(theta_KP)
            alone = torch.stack([task.logits(theta_P, inputs, *statistics) for theta_P in theta_KP])
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return "" if torch.allclose(together, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max())) else "it differs"


class MadeUp(Federation):
    """Two clients with a few made-up images each, for trying."""

    def __init__(self, task: Task) -> None:
        rng = stream(0, "made up")
        self.facts, self.clients, examples = task.facts, len(SIZES), sum(SIZES)
        images = rng.integers(256, size=(examples, *task.facts.shape), dtype=np.uint8)
        self.split = self.test = Split(images, rng.integers(task.facts.classes, size=examples))

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        """`SIZES`."""
        return np.array([SIZES[client] for client in ids])

    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """The images."""
        return self.split, [np.split(np.arange(len(self.split)), np.cumsum(SIZES))[client] for client in ids]

    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """Nothing."""
        return self.split, [np.arange(0) for _ in ids]
