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

from fedsam.data.base import Split
from fedsam.data.plan import ClientPlan
from fedsam.engine.base import Engine, Trained
from fedsam.engine.local import Step, train_client
from fedsam.engine.task import Store, Task
from fedsam.errors import RunError

log = logging.getLogger("fedsam")


class Cohort(Engine):
    """Blocks of clients at once. Clients with fewer steps or smaller batches are masked by selection."""

    def start(self, task: Task) -> CohortTrainer:
        """Fix the size of a block."""
        return CohortTrainer(task, self.block or default_block(task.layout.total))


def default_block(parameters: int) -> int:
    """Clients of a block: as many as hold 2^26 parameters together, from 1 to 64."""
    return max(1, min(64, 2**26 // max(parameters, 1)))


class CohortTrainer:
    """The cohort engine at work."""

    def __init__(self, task: Task, block: int) -> None:
        self.task = task
        self.block = block

    def train(self, theta_P: Tensor, store: Split, plans: Sequence[ClientPlan], lr: float) -> Iterator[Trained]:
        """Train the clients in blocks, those with the most steps first; if memory runs out, in smaller blocks from
        then on.
        """
        placed = self.task.store(store)
        order = sorted(range(len(plans)), key=lambda row: -len(plans[row].count_T))  # equal ones keep their order
        begin = 0
        while begin < len(order):
            rows = order[begin : begin + self.block]
            try:
                trained = self._train_block(theta_P, placed, rows, [plans[row] for row in rows], lr)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                self._halve()
                continue
            begin += len(rows)
            yield trained

    def _train_block(
        self, theta_P: Tensor, store: Store, rows: list[int], plans: list[ClientPlan], lr: float
    ) -> Trained:
        def one(steps: list[dict[str, Any]]) -> tuple[Tensor, Tensor]:
            return train_client(self.task, store, theta_P, [Step(**step) for step in steps], lr)

        delta_KP, loss_K = vmap(one)(stack_steps(plans, self.task.device, self.task.dtype))
        return Trained(rows, delta_KP, loss_K)

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


def _out_of_memory(error: RuntimeError) -> bool:
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "can't allocate memory" in str(error)
        or "not enough memory" in str(error)
    )
