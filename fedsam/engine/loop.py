"""The reference engine: one client after the other, in each of the processor's threads.

Shapes: K clients of a block (here one), T local steps, B batch, P parameters.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.data.base import Federation
from fedsam.data.plan import ClientPlan
from fedsam.engine.base import Engine, Trainer
from fedsam.engine.context import DeviceSplit, RunContext
from fedsam.engine.isolate import attempt, plan_round
from fedsam.engine.messages import Order, Trained
from fedsam.engine.support.cuda_graph import Graphs
from fedsam.engine.support.threads import Threads
from fedsam.engine.support.trees import mapped
from fedsam.engine.support.upload import uploaded
from fedsam.engine.train_client import Step, TrainedClient, train_client


class Loop(Engine):
    """One client after the other in each processor thread, every batch at its own size: slow where kernels are small,
    fast where they are large.
    """

    def start(self, context: RunContext, federation: Federation) -> LoopTrainer:
        """Start the threads."""
        return LoopTrainer(context, federation, Graphs() if self.graphs else None)


class LoopTrainer(Trainer):
    """The loop engine at work."""

    def __init__(self, context: RunContext, federation: Federation, graphs: Graphs | None = None) -> None:
        super().__init__(context, federation)
        self.graphs = graphs
        self._threads = Threads(torch.get_num_threads() if context.device.type == "cpu" else 1)
        self._own = threading.local()

    def train(self, theta_P: Tensor, order: Order) -> Iterator[Trained]:
        """Train the clients, in their order."""
        store, plans, failures = plan_round(self.context, self.federation, order)
        if failures:
            yield self.failed(failures)
        if store is None:
            return

        def train(at: list[int]) -> Trained:
            part = order.part(at)
            done = self.one(theta_P, store, plans[at[0]], part)
            return self.trained(part, mapped(done, lambda leaf: leaf[None]), theta_P)

        def work(row: int) -> Trained:
            _, done, failures = attempt([row], order.ids, train)
            return self.failed(failures) if done is None else done

        yield from self._threads.each(work, list(plans))

    def one(self, theta_P: Tensor, store: DeviceSplit, plan: ClientPlan, order: Order) -> TrainedClient:
        """As `train_one`, in this thread."""
        train = self.graphs.train if self.graphs else train_client
        return train_one(self._context(), theta_P, store, plan, order, train)

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    def _context(self) -> RunContext:
        """The context with a module for this thread alone: parameters are put into it in every call."""
        if self._threads.count == 1:
            return self.context
        if not hasattr(self._own, "context"):
            self._own.context = replace(self.context, module=copy.deepcopy(self.context.module))
        own: RunContext = self._own.context
        return own


def train_one(
    context: RunContext,
    theta_P: Tensor,
    store: DeviceSplit,
    plan: ClientPlan,
    order: Order,
    train: Callable[..., TrainedClient] = train_client,
) -> TrainedClient:
    """As `train_client` for the one client of an order, each batch at its own size."""
    client_state = {name: kept_KP[0].to(theta_P) for name, kept_KP in order.client_state.items()}
    own = client_state, float(len(plan.count_T)), order.lr
    client = ClientContext(theta_P, order.sent, *own, context.optimizer, context.clock(order))
    return train(context, store, steps_of(plan, context.device), client, float(order.weight_K[0]))


def steps_of(plan: ClientPlan, device: torch.device) -> Iterator[Step]:
    """The steps of one client, each batch at its own size."""
    keys = {} if plan.key_T2 is None else {"key": plan.key_T2}
    drawn = {f"draw {name}": array for name, array in plan.draws.items()}
    there = uploaded({"index": plan.index_TB, **keys, **drawn}, device)
    index_TB, key_T2 = there["index"], there.get("key")
    draws = {name: there[f"draw {name}"] for name in plan.draws}
    for t, count in enumerate(plan.count_T.tolist()):
        draw = {name: each[t, :count] for name, each in draws.items()}
        yield Step(index_TB[t, :count], float(count), draw, key=None if key_T2 is None else key_T2[t])
