"""Regression: one number, or several, for each example.

Shapes: N examples, D numbers of a target, S statistics.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fedsam.config import key
from fedsam.errors import InputError
from fedsam.tasks.base import Task, Weight
from fedsam.tasks.metric import MeanOverExamples, Metric

if TYPE_CHECKING:
    from fedsam.data.spec import Spec


class RMSE(MeanOverExamples):
    """√(Σ (z − y)² / (N D)), in the unit of the targets."""

    name, better, unit = "rmse", "lower", ""

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean of the squares."""
        return _errors(outputs, targets).square().mean(dim=1)

    def value(self, total_S: np.ndarray) -> float:
        """The root of their mean."""
        return math.sqrt(super().value(total_S))


class MAE(MeanOverExamples):
    """Σ |z − y| / (N D), in the unit of the targets."""

    name, better, unit = "mae", "lower", ""

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean of the distances."""
        return _errors(outputs, targets).abs().mean(dim=1)


class R2(Metric):
    """R² = 1 − Σ (z − y)² / Σ (y − ȳ)² of each number of a target, and their mean.

    Where targets do not vary it is 1 if they are met and else 0, as in scikit-learn.
    """

    name, better, unit = "r2", "higher", ""

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """1, and of each number of a target (z − y)², y and y²; [N, 1 + 3D]."""
        errors_ND, y_ND = _errors(outputs, targets), targets.double().reshape(len(targets), -1)
        return torch.cat([torch.ones_like(y_ND[:, :1]), errors_ND.square(), y_ND, y_ND.square()], dim=1)

    def value(self, total_S: np.ndarray) -> float:
        """The mean over the numbers of a target."""
        left_D, sum_D, squares_D = np.split(total_S[1:], 3)
        spread_D = squares_D - sum_D**2 / total_S[0]
        varies_D = spread_D > 1e-14 * squares_D  # what rounding leaves of a constant
        told_D = np.divide(left_D, spread_D, out=(left_D > 0).astype(np.float64), where=varies_D)
        return float((1 - told_D).mean())


class Regression(Task):
    """Squared error, or with `delta` Huber's loss, which is linear where the error is large:

    l = Σ_d (z_d − y_d)² / D,   or   l = Σ_d h(z_d − y_d) / D,   h(e) = e²/2 if |e| < δ, else δ (|e| − δ/2)

    Huber, Annals of Mathematical Statistics 35, 1964. Outputs have the targets' form; one number is given as [N, 1].
    """

    metrics: ClassVar[tuple[Metric, ...]] = (RMSE(), MAE(), R2())

    delta: float | None = key(
        None, "error from which on the loss is linear (Huber); none = squared error everywhere", "squared error", gt=0.0
    )

    def output_shape(self, spec: Spec) -> tuple[int, ...]:
        """That of a target, (1,) for one number."""
        if spec.classes is not None:
            raise InputError("name", self.name, "needs targets that are numbers, and the data set has classes")
        return spec.target_shape or (1,)

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Weight]:
        """The mean over the numbers of a target, [N]; each example has the weight 1."""
        errors_ND = (outputs.reshape(targets.shape) - targets).reshape(len(targets), -1)
        if self.delta is None:
            return errors_ND.square().mean(dim=1), 1.0
        return F.huber_loss(errors_ND, torch.zeros_like(errors_ND), reduction="none", delta=self.delta).mean(dim=1), 1.0

    def head(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Weight, Tensor]:
        """In closed form: dl/dz = 2 (z − y) / D, or (z − y) / D, of size δ / D at most."""
        errors = outputs.reshape(targets.shape) - targets
        numbers = errors[0].numel()
        slope = 2 * errors if self.delta is None else errors.clamp(-self.delta, self.delta)
        return self.losses(outputs, targets)[0], 1.0, (slope / numbers).view(outputs.shape)


def _errors(outputs: Tensor, targets: Tensor) -> Tensor:
    """z − y, float64 [N, D]."""
    return (outputs.reshape(targets.shape).double() - targets.double()).reshape(len(targets), -1)
