"""Metrics of classification, each from sums over examples.

Shapes: N examples, L classes, S statistics.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fedsam.tasks.metric import MeanOverExamples, Metric


class Accuracy(MeanOverExamples):
    """Share of examples whose largest logit is that of their class."""

    name, better, unit = "accuracy", "higher", "share"

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Whether it is."""
        return outputs.argmax(dim=1) == targets


class Top5(MeanOverExamples):
    """Share of examples whose class is among the five with the largest logits."""

    name, better, unit = "top5", "higher", "share"

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Whether it is."""
        five = outputs.topk(min(5, outputs.shape[1]), dim=1).indices
        return (five == targets[:, None]).any(dim=1)


class _PerClass(Metric):
    """What is made of each class's examples, predictions and examples that were predicted."""

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """One-hot: class, prediction, and class where it was predicted; [N, 3L]."""
        classes = outputs.shape[1]
        own, predicted = F.one_hot(targets, classes), F.one_hot(outputs.argmax(dim=1), classes)
        return torch.cat([own, predicted, own * predicted], dim=1).double()

    def recalls(self, total_S: np.ndarray) -> np.ndarray:
        """Of each class, the share of its examples that is predicted so, [L]; NaN for one without examples."""
        own_L, _, both_L = np.split(total_S, 3)
        found: np.ndarray = np.divide(both_L, own_L, out=np.full(len(own_L), np.nan), where=own_L > 0)
        return found


class MacroF1(_PerClass):
    """F1 = 2 TP / (examples + predictions) of each class, and their mean over the classes that occur in either."""

    name, better, unit = "macro_f1", "higher", "share"

    def value(self, total_S: np.ndarray) -> float:
        """The mean; 0 if there is no such class."""
        own_L, predicted_L, both_L = np.split(total_S, 3)
        there = own_L + predicted_L > 0
        return float((2 * both_L[there] / (own_L + predicted_L)[there]).mean()) if there.any() else 0.0


class BalancedAccuracy(_PerClass):
    """The mean over classes of the share of a class's examples that is predicted so, over classes with examples."""

    name, better, unit = "balanced_accuracy", "higher", "share"

    def value(self, total_S: np.ndarray) -> float:
        """The mean."""
        return float(np.nanmean(self.recalls(total_S)))


class PerClassAccuracy(_PerClass):
    """Of each class, the share of its examples that is predicted so; None for one without examples."""

    name, better, unit, last = "per_class_accuracy", "higher", "share", True

    def value(self, total_S: np.ndarray) -> list[float | None]:
        """[L]."""
        return [None if np.isnan(recall) else float(recall) for recall in self.recalls(total_S)]


class CalibrationError(Metric):
    """Expected calibration error: Σ_b |acc_b − conf_b| n_b / n over 15 bins of the probability of the predicted class.

    Guo et al., ICML 2017, eq. 3.
    """

    name, better, unit = "calibration_error", "lower", "share"
    BINS = 15

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """In the example's bin: 1, whether it is right, its probability; [N, 3·15]."""
        sure_N, predicted_N = outputs.double().softmax(dim=1).max(dim=1)
        place_N = (sure_N * self.BINS).ceil().long().clamp(1, self.BINS) - 1
        bins_NB = F.one_hot(place_N, self.BINS).double()
        right_N1 = (predicted_N == targets).double()[:, None]
        return torch.cat([bins_NB, bins_NB * right_N1, bins_NB * sure_N[:, None]], dim=1)

    def value(self, total_S: np.ndarray) -> float:
        """The sum over bins."""
        number_B, right_B, sure_B = np.split(total_S, 3)
        return float(np.abs(right_B - sure_B).sum() / number_B.sum())


class ConfusionMatrix(Metric):
    """Examples of each class (rows) that are predicted as each class (columns)."""

    name, better, unit, last = "confusion_matrix", "higher", "examples", True

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """One-hot of both, [N, L·L]."""
        classes = outputs.shape[1]
        return F.one_hot(targets * classes + outputs.argmax(dim=1), classes**2).double()

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Counted, [L·L]."""
        classes = outputs.shape[1]
        return torch.bincount(targets * classes + outputs.argmax(dim=1), minlength=classes**2).double()

    def value(self, total_S: np.ndarray) -> Any:
        """[L][L]."""
        side = round(len(total_S) ** 0.5)
        return total_S.astype(int).reshape(side, side).tolist()
