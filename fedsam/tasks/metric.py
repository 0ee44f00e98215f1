"""What a metric is: sums over examples, and a number made of them.

Shapes: N examples, S statistics of a metric.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from fedsam.measure.score import Score


class Metric(ABC):
    """A number that says how good outputs are, made of sums over examples: so it is right for one split, for each
    client and for all of them together, in whatever order the batches come.
    """

    name: ClassVar[str]
    """What records call it, after the name of the split: `test_accuracy`."""
    better: ClassVar[Literal["higher", "lower"]]
    unit: ClassVar[str] = ""
    """`share` (of 1, shown in percent), `nats`, or whatever the numbers are in."""
    last: ClassVar[bool] = False
    """Whether it is measured at the end of a run alone, as what is no single number."""

    @property
    def score(self) -> Score:
        """How it is told and compared."""
        return Score(self.name, self.better, self.unit)

    @abstractmethod
    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sums' terms of each example, float64 [N, S]."""

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sums over these examples, float64 [S]."""
        return self.reduced(self.statistics(outputs, targets))

    def reduced(self, terms_NS: Tensor) -> Tensor:
        """The sums of the terms of some examples; what is not made of sums keeps what it needs of each."""
        return terms_NS.sum(dim=0)

    def joined(self, one: Tensor, other: Tensor) -> Tensor:
        """What `total` gives of two parts together."""
        return one + other

    def judged(self, model: Callable[[Tensor], Tensor], inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sums over these examples, of a metric that may ask the model for more than its outputs, [S].

        Args:
            model: gives outputs for inputs, in evaluation.
        """
        return self.total(outputs, targets)

    @abstractmethod
    def value(self, total_S: np.ndarray) -> Any:
        """The number, or lists of numbers, of the sums."""


class MeanOverExamples(Metric):
    """The mean of a number of each example."""

    @abstractmethod
    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The number of each, [N]."""

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The number, and 1; [N, 2]."""
        each_N = self.each(outputs, targets).double()
        return torch.stack([each_N, torch.ones_like(each_N)], dim=1)

    def value(self, total_S: np.ndarray) -> float:
        """Their sum / examples."""
        return float(total_S[0] / total_S[1])
