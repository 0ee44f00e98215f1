"""The reference engine: one client after the other.

Shapes: K clients of a block (here one), T local steps, B batch, P parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fedsam.data.base import Split
from fedsam.data.plan import ClientPlan
from fedsam.engine.base import Engine, Trained
from fedsam.engine.local import Step, train_client
from fedsam.engine.task import Task


class Loop(Engine):
    """One client after the other, every batch at its own size: slow where kernels are small, fast where they are
    large.
    """

    def start(self, task: Task) -> LoopTrainer:
        """Nothing to make ready."""
        return LoopTrainer(task)


class LoopTrainer:
    """The loop engine at work."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def train(self, theta_P: Tensor, store: Split, plans: Sequence[ClientPlan], lr: float) -> Iterator[Trained]:
        """Train the clients in the order of their plans."""
        placed = self.task.store(store)
        for row, plan in enumerate(plans):
            delta_P, loss = train_client(self.task, placed, theta_P, self._steps(plan), lr)
            yield Trained([row], delta_P[None], loss[None])

    def _steps(self, plan: ClientPlan) -> Iterator[Step]:
        device = self.task.device
        index_TB = torch.from_numpy(plan.index_TB).to(device)
        draws = {name: torch.from_numpy(array).to(device) for name, array in plan.draws.items()}
        for t, count in enumerate(plan.count_T.tolist()):
            yield Step(index_TB[t, :count], float(count), {name: draw[t, :count] for name, draw in draws.items()})
