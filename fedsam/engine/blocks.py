"""Training a block of clients at once, and finding out whether that works for what is not this package's own.

Shapes: K clients of a block, B batch, P parameters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._python_dispatch import TorchDispatchMode

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Strategy
from fedsam.data.base import Federation, Split
from fedsam.data.plan import ClientPlan, local_steps
from fedsam.engine.client_batch import ClientBatch
from fedsam.engine.context import DeviceSplit, RunContext
from fedsam.engine.loop import train_one
from fedsam.engine.messages import Order
from fedsam.engine.support.upload import numbers
from fedsam.engine.train_client import TrainedClient, train_client
from fedsam.models.batchnorm import NAME as BATCHNORM
from fedsam.params import Weights, theta_of

SIZES = 3, 2
"""Examples of the clients that are tried, so that their batches differ."""
STEPS = 2, 1
"""Local steps of these, so that one lacks the last."""
LR = 0.01
CLOSE = {"bf16": 0.2, "tf32": 0.05, "fp32": 1e-3, "fp64": 1e-8}
"""Difference of two updates that rounding explains, relative to their norm."""


def train_block(
    context: RunContext,
    theta_P: Tensor,
    store: DeviceSplit,
    plans: Sequence[ClientPlan],
    order: Order,
    train: Callable[..., TrainedClient] = train_client,
    padded: bool = False,
) -> TrainedClient:
    """As `train_client` for all clients of an order, [K, ...], on all rows at once.

    Args:
        train: what does it.
        padded: whether batches are filled up so that few shapes exist.
    """
    steps_K = np.array([len(plan.count_T) for plan in plans])
    beside = {"steps": numbers(steps_K, context.dtype), "weight": numbers(order.weight_K, context.dtype)}
    most = context.optimizer.base_optimizer.batch_size if padded else 0
    batch = ClientBatch.of(plans, store, context.dtype, beside, most)
    client_state = {name: kept_KP.to(theta_P) for name, kept_KP in order.client_state.items()}
    own = client_state, batch.beside["steps"][:, None], order.lr
    sent_KP = theta_P.expand(len(plans), -1)
    client = ClientContext(sent_KP, order.sent, *own, context.optimizer, context.clock(order))
    return train(context, store, batch.steps(), client, batch.beside["weight"][:, None])


def why_not(context: RunContext) -> str:
    """Why clients cannot be trained in blocks, in a few words; nothing if they can.

    Nobody doubts it for this package's own parts. With others, two clients are trained on a few examples, in a block
    and alone, once: a model may have operations that `torch.func.vmap` lacks, or take the mean over a batch
    that is filled up.
    """
    if "train" not in context.tried:
        context.tried["train"] = _tried(context) if context.sample and doubtful(context) else ""
    return context.tried["train"]


def why_not_together(context: RunContext) -> str:
    """Why several models cannot be evaluated at once by `torch.func.vmap`; nothing if they can."""
    if "evaluate" not in context.tried:
        context.tried["evaluate"] = _evaluated(context) if context.sample and _foreign(context) else ""
    return context.tried["evaluate"]


def _foreign(context: RunContext) -> bool:
    return ":" in str(context.keys.get("model.name", ""))


def doubtful(context: RunContext) -> bool:
    """Whether training goes through parts that are not this package's own."""
    ours = any(kernel.batched for kernel in context.kernels[:-1])
    parts = "client.", "server.", "data.augment", "task.name", *(() if ours else ("model.name",))
    return any(isinstance(value, str) and ":" in value for key, value in context.keys.items() if key.startswith(parts))


def _tried(context: RunContext) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of operations that vmap takes one by one
        two = Two(context)
        try:
            two.alone()
        except Exception:
            return ""  # it is not the block's fault; the round will tell whose it is
        try:
            with Undecided():  # type: ignore[no-untyped-call]
                two.together()
            apart = two.difference()
        except Exception as error:
            first = (str(error).strip() or "no message").splitlines()[0]
            return f"it cannot be trained in blocks ({type(error).__name__}: {first[:160]})"
    if not apart <= CLOSE[context.precision]:
        return f"it cannot be trained in blocks (a client's update is {apart:.2%} off: does it look at a whole batch?)"
    return ""


class Undecided(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, no tensor becomes a number of Python's: what is decided by it would be decided for a whole block."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled, and the wrapper that it asks for would load torch's compiler (3 s)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("it decides by numbers of the data, which differ from client to client")
        return func(*args, **(kwargs or {}))


class Two:
    """Two clients, trained alone and in a block."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.order, self.sent_P = _order(context, theta_of(context.module).to(context.device, context.dtype))
        split, self.plans = context.plan(Sample(context), self.order)
        self.store = context.place(split)

    def alone(self) -> Tensor:
        """Their weights, [K, P], each trained alone."""
        return torch.stack([self._one(row) for row in range(len(self.plans))])

    def together(self) -> Tensor:
        """Their weights, [K, P], trained in a block."""
        return train_block(self.context, self.sent_P, self.store, self.plans, self.order).theta_P

    def difference(self) -> float:
        """The larger distance of the two, relative to the client's update."""
        one_KP, other_KP = self.alone(), self.together()
        moved_K = torch.linalg.vector_norm(one_KP - self.sent_P, dim=1)
        apart_K = torch.linalg.vector_norm(one_KP - other_KP, dim=1)
        # weights are rounded, however small the update
        floor = torch.finfo(self.context.dtype).eps * torch.linalg.vector_norm(self.sent_P)
        return float((apart_K / (moved_K + 100 * floor)).max())

    def _one(self, row: int) -> Tensor:
        return train_one(self.context, self.sent_P, self.store, self.plans[row], self.order.part([row])).theta_P


def _order(context: RunContext, theta_P: Tensor) -> tuple[Order, Tensor]:
    strategy, sizes_K = context.strategy, np.array(SIZES)
    assert isinstance(strategy, Strategy)
    state = strategy.init(theta_P)
    sent = strategy.broadcast(state)
    if context.batchnorms is not None and strategy.batchnorm == "average":
        sent = {**sent, BATCHNORM: context.batchnorms.initial(theta_P)}
    client_state = {
        name: torch.zeros(len(SIZES), size, dtype=context.dtype) for name, size in context.client_state.items()
    }
    steps_K = np.minimum(
        STEPS,
        local_steps(sizes_K, context.optimizer.base_optimizer.batch_size, context.optimizer.base_optimizer.epochs),
    )
    order = Order(0, LR, [0, 1], sizes_K / sizes_K.sum(), sent=sent, client_state=client_state, steps_K=steps_K)
    return order, strategy.sent(theta_P, state)


def _evaluated(context: RunContext) -> str:
    inputs = context.prepare(context.place(Sample(context).split).inputs)
    theta_P = theta_of(context.module).to(context.device, context.dtype)
    theta_KP = torch.stack([theta_P, 1.01 * theta_P])
    (_, statistics) = context.initial(theta_P)

    def outputs(theta_P: Tensor) -> Tensor:
        return context.outputs(Weights(theta_P, statistics), inputs)

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            together = vmap(outputs)(theta_KP)
            alone = torch.stack([outputs(theta_P) for theta_P in theta_KP])
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return "" if torch.allclose(together, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max())) else "it differs"


class Sample(Federation):
    """Two clients with a few of the run's examples each, for trying."""

    def __init__(self, context: RunContext) -> None:
        self.spec, self.clients = context.spec, len(SIZES)
        assert context.sample
        some = np.arange(sum(SIZES)) % len(context.sample)
        self.split = self.test = Split(context.sample.inputs[some], context.sample.targets[some])

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        """`SIZES`."""
        return np.array([SIZES[client] for client in ids])

    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """The few examples."""
        return self.split, [np.split(np.arange(len(self.split)), np.cumsum(SIZES))[client] for client in ids]

    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """Nothing."""
        return self.split, [np.arange(0) for _ in ids]
