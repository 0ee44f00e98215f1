"""The vectorised engine: blocks of clients trained at once, by `torch.func.vmap` over the function that trains one.

Shapes: K clients of a block, T local steps, B batch, P parameters.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from fedsam.client_half import Here, State
from fedsam.data.base import Federation
from fedsam.data.plan import ClientPlan
from fedsam.engine.base import Engine, Order, Trained, Trainer
from fedsam.engine.blame import attempt, out_of_memory, planned
from fedsam.engine.local import Step, train_client
from fedsam.engine.task import Store, Task
from fedsam.errors import RunError

log = logging.getLogger("fedsam")


class Cohort(Engine):
    """Blocks of clients at once. Clients with fewer steps or smaller batches are masked by selection."""

    def start(self, task: Task, federation: Federation) -> CohortTrainer:
        """Fix the size of a block."""
        return CohortTrainer(task, federation, self.block or default_block(task.layout.total))


def default_block(parameters: int) -> int:
    """Clients of a block: as many as hold 2^26 parameters together, from 1 to 64."""
    return max(1, min(64, 2**26 // max(parameters, 1)))


def longest_first(steps: Sequence[int]) -> list[int]:
    """Places of clients, those with the most steps first; equal ones keep their order."""
    return sorted(range(len(steps)), key=lambda row: -steps[row])


class CohortTrainer(Trainer):
    """The cohort engine at work."""

    def __init__(self, task: Task, federation: Federation, block: int) -> None:
        super().__init__(task, federation)
        self.block = block

    def train(self, theta_P: Tensor, order: Order) -> Iterator[Trained]:
        """Train the clients in blocks, those with the most steps first; if memory runs out, in smaller blocks from
        then on.
        """
        store, plans, failures = planned(self.task, self.federation, order)
        if failures:
            yield self.failed(failures)
        if store is None:
            return

        def train(at: list[int]) -> tuple[Tensor, Tensor, State, State]:
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
                theta_KP, loss_K, slots, uploads = done
                yield self.trained(order.part(trained), theta_KP, loss_K, theta_P, uploads, slots)

    def _train_block(
        self, theta_P: Tensor, store: Store, plans: list[ClientPlan], order: Order
    ) -> tuple[Tensor, Tensor, State, State]:
        task = self.task

        def one(
            steps: list[dict[str, Any]], slot: State, number: Tensor, weight: Tensor
        ) -> tuple[Tensor, Tensor, State, State]:
            here = Here(theta_P, order.sent, slot, number, order.lr, weight, task.optimizer, task.clock(order))
            return train_client(task, store, [Step(**step) for step in steps], here)

        slots = {name: kept_KP.to(theta_P) for name, kept_KP in order.slots.items()}
        number_K = torch.tensor([float(len(plan.count_T)) for plan in plans], dtype=task.dtype, device=task.device)
        weight_K = torch.from_numpy(order.weight_K).to(task.device, task.dtype)
        steps = stack_steps(plans, task.device, task.dtype)
        theta_KP, loss_K, slots, uploads = vmap(one)(steps, slots, number_K, weight_K)
        return theta_KP, loss_K, slots, {name: each_KP.sum(dim=0) for name, each_KP in uploads.items()}

    def _halve(self) -> None:
        if self.block == 1:
            raise RunError(
                "out of memory with one client at a time; set a smaller client.batch_size or engine.precision=bf16"
            )
        self.block //= 2
        log.warning(
            "out of memory: going on with blocks of %d clients (engine.block=%d avoids the attempt)",
            self.block,
            self.block,
        )


def stack_steps(plans: Sequence[ClientPlan], device: torch.device, dtype: torch.dtype) -> list[dict[str, Any]]:
    """The arguments of `Step` for each local step of a block, each with a first dimension K.

    A step's batch is as large as the largest at that step; masks are there only where clients differ.
    """
    steps = []
    for t in range(max(len(plan.count_T) for plan in plans)):
        at = [min(t, len(plan.count_T) - 1) for plan in plans]  # a client without step t repeats its last one, inactive
        active_K = np.array([t < len(plan.count_T) for plan in plans])
        count_K = np.array([plan.count_T[i] for plan, i in zip(plans, at, strict=True)])
        batch = int(count_K[active_K].max())
        count_K = np.minimum(count_K, batch)
        step: dict[str, Any] = {
            "index_B": _stack([_fit(plan.index_TB[i], batch) for plan, i in zip(plans, at, strict=True)], device),
            "count": torch.from_numpy(count_K).to(device, dtype),
            "draws": {
                name: _stack([_fit(plan.draws[name][i], batch) for plan, i in zip(plans, at, strict=True)], device)
                for name in plans[0].draws
            },
        }
        if (count_K < batch).any():
            step["valid_B"] = torch.from_numpy(np.arange(batch) < count_K[:, None]).to(device)
        if not active_K.all():
            step["active"] = torch.from_numpy(active_K).to(device)
        steps.append(step)
    return steps


def _fit(row_B: np.ndarray, batch: int) -> np.ndarray:
    """Cut a row to the batch, or lengthen it by its first entry."""
    return (
        row_B[:batch]
        if len(row_B) >= batch
        else np.concatenate([row_B, np.repeat(row_B[:1], batch - len(row_B), axis=0)])
    )


def _stack(rows: list[np.ndarray], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(rows)).to(device)
