"""The vectorised engine: blocks of clients trained at once, by the function that trains one, on all rows of a block.

Shapes: K clients of a block, P parameters.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from fedsam.data.base import Federation
from fedsam.data.plan import ClientPlan
from fedsam.engine.base import Engine, Trainer
from fedsam.engine.blocks import doubtful, train_block, why_not
from fedsam.engine.context import DeviceSplit, RunContext
from fedsam.engine.isolate import attempt, out_of_memory, plan_round
from fedsam.engine.loop import Loop
from fedsam.engine.messages import Order, Trained
from fedsam.engine.support.cuda_graph import Graphs
from fedsam.engine.support.room import clients_that_fit
from fedsam.engine.train_client import TrainedClient, train_client
from fedsam.errors import RunError

log = logging.getLogger("fedsam")

L2_CACHE, FAR = 2**20, 2**26
"""Parameters that the rows of a block hold together, at most: on a CPU, where they stay in a near cache, and on what
has memory that is not known here.
"""


class Cohort(Engine):
    """Blocks of clients at once. Clients with fewer steps or smaller batches are masked by selection."""

    def choose(self, context: RunContext) -> tuple[Engine, str]:
        """Itself; or one client at a time where the model, or another part that is not this package's own, cannot be
        trained in blocks.
        """
        if why := why_not(context):
            settings: dict[str, Any] = {field: getattr(self, field) for field in Engine.model_fields}
            return Loop(**settings), f"{why}, so clients are trained one at a time"
        return super().choose(context)

    def start(self, context: RunContext, federation: Federation) -> CohortTrainer:
        """Fix the size of a block."""
        # with parts that are not our own it must be asked for: they may do what a replay does not do again
        by_itself = context.device.type == "cuda" and not doubtful(context)
        graphs = Graphs() if (by_itself if self.graphs is None else self.graphs) else None
        block = self.block or block_of(context)
        return CohortTrainer(context, federation, block, graphs)


def default_block(parameters: int) -> int:
    """Clients of a block: as many as hold `FAR` parameters together, from 1 to 64."""
    return max(1, min(64, FAR // max(parameters, 1)))


def block_for(parameters: int, device: str) -> int:
    """Clients of a block: on a CPU those of `L2_CACHE` parameters together, from 2 to 64; else `default_block`."""
    return max(2, min(64, L2_CACHE // max(parameters, 1))) if device == "cpu" else default_block(parameters)


def block_of(context: RunContext) -> int:
    """Clients of a block: on a CPU those of `L2_CACHE` parameters together, on a GPU those that it has memory for."""
    if context.device.type == "cuda":
        return clients_that_fit(context)
    return block_for(context.layout.total, context.device.type)


def longest_first(steps: Sequence[int]) -> list[int]:
    """Places of clients, those with the most steps first; equal ones keep their order."""
    return sorted(range(len(steps)), key=lambda row: -steps[row])


class CohortTrainer(Trainer):
    """The cohort engine at work."""

    def __init__(self, context: RunContext, federation: Federation, block: int, graphs: Graphs | None = None) -> None:
        super().__init__(context, federation)
        self.block, self.graphs = block, graphs
        self.padded = graphs is not None  # a graph is of one shape, so there should be few

    def train(self, theta_P: Tensor, order: Order) -> Iterator[Trained]:
        """Train the clients in blocks, those with the most steps first; if memory runs out, in smaller blocks from
        then on.
        """
        store, plans, failures = plan_round(self.context, self.federation, order)
        if failures:
            yield self.failed(failures)
        if store is None:
            return

        def train(at: list[int]) -> TrainedClient:
            return self._train_block(theta_P, store, [plans[row] for row in at], order.part(at))

        rows = list(plans)
        line, begin = [rows[i] for i in longest_first([len(plans[row].count_T) for row in rows])], 0
        while begin < len(line):
            asked = line[begin : begin + self.block]
            try:
                trained, done, failures = attempt(asked, order.ids, train)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                self._halve()
                continue
            begin += len(asked)
            if failures:
                yield self.failed(failures)
            if done is not None:
                yield self.trained(order.part(trained), done, theta_P)

    def _train_block(self, theta_P: Tensor, store: DeviceSplit, plans: list[ClientPlan], order: Order) -> TrainedClient:
        train = self.graphs.train if self.graphs else train_client
        return train_block(self.context, theta_P, store, plans, order, train, self.padded)

    def _halve(self) -> None:
        if self.block == 1:
            raise RunError(
                "out of memory with one client at a time; set a smaller client.batch_size or engine.precision=bf16"
            )
        self.block //= 2
        if self.graphs:
            self.graphs.clear()
        log.warning(
            "out of memory: going on with blocks of %d clients (engine.block=%d avoids the attempt)",
            self.block,
            self.block,
        )
