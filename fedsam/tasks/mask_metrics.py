"""Metrics of segmentation, each from sums of confusion matrices of pixels.

A stored target that is no class is a pixel without label, and counts nowhere.
Shapes: N examples, H height, W width, L classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedsam.tasks.metric import Metric


class _Pixels(Metric):
    """What is made of the labelled pixels of each class (rows) that are predicted as each class (columns), [L·L]."""

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The matrix of each example, [N, L·L]."""
        cells = outputs.shape[1] ** 2 + 1
        first_N = cells * torch.arange(len(outputs), device=outputs.device)
        places = _cells(outputs, targets) + first_N[:, None, None]
        return _counted(places, cells * len(outputs)).view(-1, cells)[:, :-1]

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The matrix of all, [L·L]."""
        return _counted(_cells(outputs, targets), outputs.shape[1] ** 2 + 1)[:-1]


class MeanIoU(_Pixels):
    """Mean over classes of the intersection over the union of their pixels, |T_l ∩ P_l| / |T_l ∪ P_l|; over the
    classes that occur in either.

    Everingham et al., IJCV 2015, section 4.1.3.
    """

    name, better, unit = "miou", "higher", "share"

    def value(self, total_S: np.ndarray) -> float:
        """The mean; NaN where nothing is labelled."""
        each_L = _ious(total_S)
        there = ~np.isnan(each_L)
        return float(each_L[there].mean()) if there.any() else float("nan")


class PixelAccuracy(_Pixels):
    """Share of the labelled pixels whose largest logit is that of their class."""

    name, better, unit = "pixel_accuracy", "higher", "share"

    def value(self, total_S: np.ndarray) -> float:
        """Correct ones / all; NaN where nothing is labelled."""
        return float(_square(total_S).trace() / total_S.sum()) if total_S.any() else float("nan")


class PerClassIoU(_Pixels):
    """The intersection over the union of each class; None for one that occurs neither in targets nor predictions."""

    name, better, unit, last = "per_class_iou", "higher", "share", True

    def value(self, total_S: np.ndarray) -> list[float | None]:
        """[L]."""
        return [None if np.isnan(iou) else float(iou) for iou in _ious(total_S)]


class PixelConfusion(_Pixels):
    """Labelled pixels of each class (rows) that are predicted as each class (columns)."""

    name, better, unit, last = "confusion_matrix", "higher", "pixels", True

    def value(self, total_S: np.ndarray) -> Any:
        """[L][L]."""
        return _square(total_S).astype(int).tolist()


def _cells(outputs: Tensor, targets: Tensor) -> Tensor:
    """The cell of each pixel, int64 [N, H, W]; L·L for one without label."""
    classes = outputs.shape[1]
    places = targets.long() * classes + outputs.argmax(dim=1)
    return torch.where(targets < classes, places, classes**2)


def _counted(places: Tensor, cells: int) -> Tensor:
    return torch.bincount(places.flatten(), minlength=cells).double()


def _square(total_S: np.ndarray) -> np.ndarray:
    side = round(len(total_S) ** 0.5)
    return total_S.reshape(side, side)


def _ious(total_S: np.ndarray) -> np.ndarray:
    """Of each class, [L]; NaN for one that does not occur."""
    matrix_LL = _square(total_S)
    both_L = matrix_LL.diagonal()
    union_L = matrix_LL.sum(axis=0) + matrix_LL.sum(axis=1) - both_L
    found: np.ndarray = np.divide(both_L, union_L, out=np.full(len(union_L), np.nan), where=union_L > 0)
    return found
