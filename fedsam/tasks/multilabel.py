"""Several labels at once: each of L labels holds of an example or does not.

Shapes: N examples, L labels, S statistics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fedsam.errors import InputError
from fedsam.tasks.base import Task, Weight
from fedsam.tasks.class_metrics import MacroF1
from fedsam.tasks.metric import Metric

if TYPE_CHECKING:
    from fedsam.data.spec import Spec


class MeanAveragePrecision(Metric):
    """AP = Σ_n (R_n − R_(n−1)) P_n of each label, over the scores from the highest down, and the mean over the labels
    that hold of some example; equal scores make one step. R_n is the share of a label's examples with at least the
    n-th score, P_n the share of those so high that have the label. NaN if no label holds of any example.

    It depends on the order of all scores, so it is made of the examples themselves and not of sums.
    """

    name, better, unit = "mean_average_precision", "higher", "share"

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The scores and the labels, [N, 2L]."""
        return torch.cat([outputs, targets.to(outputs.dtype)], dim=1).double()

    def reduced(self, terms_NS: Tensor) -> Tensor:
        """As they are."""
        return terms_NS

    def joined(self, one: Tensor, other: Tensor) -> Tensor:
        """One after the other."""
        return torch.cat([one, other])

    def value(self, total_S: np.ndarray) -> float:
        """The mean over labels."""
        scores_NL, holds_NL = np.split(total_S, 2, axis=1)
        found = [_average_precision(*label) for label in zip(scores_NL.T, holds_NL.T, strict=True) if label[1].any()]
        return float(np.mean(found)) if found else float("nan")


class LabelF1(MacroF1):
    """F1 = 2 TP / (examples + predictions) of each label, predicted where its probability is above 1/2, and their mean
    over the labels that occur in either.
    """

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Whether each label holds, is predicted, and both; [N, 3L]."""
        holds_NL, predicted_NL = targets.double(), (outputs > 0).double()
        return torch.cat([holds_NL, predicted_NL, holds_NL * predicted_NL], dim=1)


class Multilabel(Task):
    """Binary cross entropy of each label, with p = 1 / (1 + e^(−z)):

    l = −Σ_l [y_l log p_l + (1 − y_l) log(1 − p_l)] / L,   dl/dz = (p − y) / L
    """

    metrics: ClassVar[tuple[Metric, ...]] = (MeanAveragePrecision(), LabelF1())
    loss_unit: ClassVar[str] = "nats"

    def output_shape(self, spec: Spec) -> tuple[int, ...]:
        """(L,)."""
        if spec.classes is not None or len(spec.target_shape) != 1:
            told = "needs targets [N, L] of zeros and ones, Spec(None, ..., target_shape=(L,))"
            raise InputError("name", self.name, f"{told}, and the data set has others")
        return spec.target_shape

    def check_targets(self, targets: np.ndarray) -> None:
        """Zeros and ones."""
        if wrong := sorted(set(np.unique(targets)) - {0, 1}):
            raise InputError("name", self.name, f"needs targets of zeros and ones, and the data set has {wrong[0]:g}")

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Weight]:
        """The mean over labels, [N]; each example has the weight 1."""
        # the same as above by log(1 − p) = log p − z, without the logarithm of a rounded 1
        return ((1 - targets) * outputs - F.logsigmoid(outputs)).mean(dim=1), 1.0

    def head(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Weight, Tensor]:
        """In closed form."""
        return self.losses(outputs, targets)[0], 1.0, (outputs.sigmoid() - targets) / outputs.shape[1]


def _average_precision(scores_N: np.ndarray, holds_N: np.ndarray) -> float:
    order = np.argsort(-scores_N, kind="stable")
    scores_N, holds_N = scores_N[order], holds_N[order]
    last = np.append(np.flatnonzero(np.diff(scores_N)), len(scores_N) - 1)  # of each run of equal scores
    right = np.cumsum(holds_N)[last]
    recall = np.append(0.0, right / holds_N.sum())
    return float((np.diff(recall) * right / (last + 1)).sum())
