"""Classification: one of L classes for each example.

Shapes: N examples, L classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from fedsam.errors import InputError
from fedsam.tasks.base import Task, Weight
from fedsam.tasks.class_metrics import (
    Accuracy,
    BalancedAccuracy,
    CalibrationError,
    ConfusionMatrix,
    MacroF1,
    PerClassAccuracy,
    Top5,
)
from fedsam.tasks.metric import Metric

if TYPE_CHECKING:
    from fedsam.data.spec import Spec


class Classification(Task):
    """Softmax cross entropy of logits z, with y a class or probabilities of classes (of mixup, of label smoothing):

    l = −Σ_l y_l log p_l,   p = softmax(z),   dl/dz = p Σ_l y_l − y
    """

    offers: ClassVar[frozenset[str]] = frozenset({"classes", "single labels"})
    metrics: ClassVar[tuple[Metric, ...]] = (
        Accuracy(),
        MacroF1(),
        BalancedAccuracy(),
        Top5(),
        CalibrationError(),
        PerClassAccuracy(),
        ConfusionMatrix(),
    )
    loss_unit: ClassVar[str] = "nats"

    def output_shape(self, spec: Spec) -> tuple[int, ...]:
        """(L,)."""
        if spec.classes is None:
            raise InputError("name", self.name, "needs targets that are classes, and the data set has none")
        if spec.target_shape:
            told = "needs one class for each example, the data set has more; leave it out for the data set's own"
            raise InputError("name", self.name, told)
        return (spec.classes,)

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Weight]:
        """Cross entropy of each example, [N]; each has the weight 1."""
        # under vmap torch's `cross_entropy` is decomposed in Python, slowly, and loads symbolic shapes first (1.5 s)
        log_p_NL = torch.log_softmax(outputs, dim=-1)
        if targets.is_floating_point():
            return -(targets * log_p_NL).sum(dim=-1), 1.0
        return -log_p_NL.gather(-1, targets[..., None]).squeeze(-1), 1.0

    def head(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Weight, Tensor]:
        """In closed form, also of a block: [..., L]."""
        log_p_NL = outputs - outputs.logsumexp(dim=-1, keepdim=True)  # log_softmax is slow on few classes
        if targets.is_floating_point():
            losses_N = -(targets * log_p_NL).sum(dim=-1)
            return losses_N, 1.0, log_p_NL.exp() * targets.sum(dim=-1, keepdim=True) - targets
        at_N1 = targets[..., None]
        losses_N = -log_p_NL.gather(-1, at_N1).squeeze(-1)
        p_NL = log_p_NL.exp()
        return losses_N, 1.0, p_NL.scatter_add_(-1, at_N1, p_NL.new_full((1,), -1.0).expand_as(at_N1))

    head_of_block = head  # every sum is over the last dimension

    def strata(self, targets: np.ndarray) -> np.ndarray | None:
        """The classes themselves."""
        return targets
