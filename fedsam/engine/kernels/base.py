"""What a kernel is: the gradient of a mini-batch's mean loss by theta, of one client or of a block of clients.

Shapes: K clients of a block, B batch, P parameters, S statistics of batch normalisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor

from fedsam.models.functional import Network
from fedsam.tasks.base import Task, Weight


@dataclass(frozen=True)
class Head:
    """The end of a network in training: a mini-batch's mean loss over its valid examples, as the task has it.

    L = Σ_b l_b / Σ_b w_b; examples that are not valid are left out by selection, so nothing of theirs is multiplied by
    zero.

    Args:
        task: gives each example's loss and weight.
        targets: of the batch, [B, ...]; of a block [K, B, ...].
        count: valid examples, of a block [K].
        valid: which are, [B] or [K, B]; None = all.
        block: whether it is of a block of clients.
    """

    task: Task
    targets: Tensor
    count: Tensor | float
    valid: Tensor | None = None
    block: bool = False

    def loss(self, outputs: Tensor, *auxiliary: Tensor) -> Tensor:
        """The mean loss of one client's batch, and that of each auxiliary output by the task's weight; can be
        differentiated.
        """
        loss = self._mean(outputs)
        if self.task.auxiliary_weight:
            for each in auxiliary:
                loss = loss + self.task.auxiliary_weight * self._mean(each)
        return loss

    def _mean(self, outputs: Tensor) -> Tensor:
        losses_B, weight = self.task.losses(outputs, self.targets)
        if self.valid is None and not isinstance(weight, Tensor):
            return losses_B.mean() if weight == 1 else losses_B.mean() / weight
        return self._selected(losses_B).sum() / self._total(weight)

    def __call__(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss, of a block [K], and its derivative by the outputs."""
        shape, head = outputs.shape, self.task.head_of_block if self.block else self.task.head
        losses, weight, derivative = head(outputs, self.targets)
        total = self._total(weight, shape[int(self.block)])
        if self.valid is None and not isinstance(total, Tensor):  # most steps: spared are some microseconds of each
            return losses.sum(dim=-1) / total, derivative.div_(total)
        over = total.view(-1, *[1] * (len(shape) - 1)) if isinstance(total, Tensor) and total.dim() else total
        return self._selected(losses).sum(dim=-1) / total, self._selected(derivative).div_(over)

    def _selected(self, each: Tensor) -> Tensor:
        if self.valid is None:
            return each
        return torch.where(self.valid.view(self.valid.shape + (1,) * (each.dim() - self.valid.dim())), each, 0.0)

    def _total(self, weight: Weight, batch: int | None = None) -> Tensor | float:
        """Σ w, where it is 0 one, so that a batch without anything to learn has the loss 0."""
        if isinstance(weight, Tensor):
            total = self._selected(weight).sum(dim=-1)
            return torch.where(total > 0, total, 1.0)
        count = batch if self.valid is None and batch is not None else self.count
        return count if weight == 1 else count * weight


class Each(Head):
    """The same end without the mean over examples."""

    def loss(self, outputs: Tensor, *auxiliary: Tensor) -> Tensor:
        """Each example's mean loss of the main output, [B]; 0 where there is nothing to learn."""
        losses_B, weight = self.task.losses(outputs, self.targets)
        if isinstance(weight, Tensor):
            return torch.where(weight > 0, losses_B / torch.where(weight > 0, weight, 1.0), 0.0)
        return losses_B / weight


class Kernel(Protocol):
    """A way to compute a gradient. No kernel knows the loss: it asks the head for the derivative by the outputs."""

    name: ClassVar[str]
    """In words, for `fedsam check`."""
    batched: ClassVar[bool]
    """Whether it computes blocks of clients."""

    @classmethod
    def match(cls, network: Network, device: torch.device, precision: str) -> Self | None:
        """For this network, if it is one that this kernel computes."""

    def takes(self, theta: Tensor, head: Head) -> bool:
        """Whether it computes one client's gradient, [P], or a block's, [K, P]; with or without masks."""

    def gradient(self, theta: Tensor, inputs: Tensor, head: Head, *statistics: Tensor) -> tuple[Tensor, ...]:
        """(∇L, L), [P] and [] or of a block [K, P] and [K]; and after it the statistics of batch normalisation, if
        they are handed in.
        """
