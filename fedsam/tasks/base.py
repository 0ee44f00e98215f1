"""What a task is: what a model must give, its loss, and the metrics that it is scored by.

Shapes: N examples, S statistics of a metric, P parameters; `...` is what the task makes of one example.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from fedsam.config import LARGE, Component, key
from fedsam.errors import InputError
from fedsam.measure.score import Score

if TYPE_CHECKING:
    from fedsam.data.spec import Spec

Weight = Tensor | float


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


class Task(Component):
    """What is learnt. A data set names its own; `task.name` overrides that.

    A batch's loss is (sum of its losses) / (sum of their weights). Whatever is here sees examples alone, [N, ...],
    without a dimension for clients, but for `head_of_block`.
    """

    kind: ClassVar[str] = "task"
    package: ClassVar[str] = "fedsam.tasks"

    offers: ClassVar[frozenset[str]] = frozenset()
    """What other components may need of it: `classes`, if examples can be divided by class (`strata`); `single labels`,
    if every target is one class; `masks`, if it is one for each pixel.
    """

    metrics: ClassVar[tuple[Metric, ...]] = ()
    """What there is to score by; the first is the headline."""

    loss_unit: ClassVar[str] = ""
    """What the loss is in, such as `nats`."""

    extra_metrics: str = key(
        "", "metrics that are recorded beside the first: their names, separated by commas, or all", "off"
    )

    auxiliary_weight: float = key(
        0.4,
        "weight of the loss of each auxiliary output that a model gives in training, beside that of its main output",
        "Zhao et al. 2017 (PSPNet), section 5.2",
        ge=0.0,
        le=LARGE,
    )

    def model_post_init(self, context: object) -> None:
        """Refuse metrics that there are not."""
        self.recorded  # noqa: B018 - raises

    @property
    def recorded(self) -> tuple[Metric, ...]:
        """The metrics that are recorded, the headline first.

        Raises:
            InputError: one is asked for that this task has not.
        """
        asked = [name.strip() for name in self.extra_metrics.split(",") if name.strip()]
        if asked == ["all"]:
            return self.metrics
        others = {metric.name: metric for metric in self.metrics[1:]}
        for name in asked:
            if name not in others:
                allowed = f"{self.name} has {', '.join(others) or 'none'}, or all"
                raise InputError("extra_metrics", self.extra_metrics, allowed)
        return self.metrics[:1] + tuple(others[name] for name in dict.fromkeys(asked))

    @property
    def headline(self) -> Metric:
        """The metric that a run is judged by."""
        return self.metrics[0]

    @property
    def score(self) -> Score:
        """How the headline is told and compared."""
        return self.headline.score

    @property
    def scores(self) -> tuple[Score, ...]:
        """How everything that is recorded is told, in the order of a record: the headline, the loss, the others."""
        first, *others = (metric.score for metric in self.recorded)
        return (first, Score("loss", "lower", self.loss_unit), *others)

    def of(self, own: str | Task) -> Task:
        """The task in force, given the data set's own: this one."""
        return self

    def on(self, spec: Spec) -> Task:
        """The task with what it has to know of the data; itself, if that is nothing.

        Raises:
            InputError: what it is to record cannot be measured on such data.
        """
        return self

    @abstractmethod
    def output_shape(self, spec: Spec) -> tuple[int, ...]:
        """What a model must give for one example.

        Raises:
            InputError: the task cannot be learnt from such data.
        """

    def check_targets(self, targets: np.ndarray) -> None:
        """Look at the targets of a data set, before the first round.

        Raises:
            InputError: they are none of this task.
        """

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Weight]:
        """Of each example the sum of its losses, [N], and their weight: [N], or one number if all have the same. Can
        be differentiated by the outputs.
        """

    def head(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Weight, Tensor]:
        """As `losses`, and the derivative of their sum by the outputs, [N, ...]; by autograd unless it is overridden in
        closed form.
        """
        with torch.enable_grad():
            leaf = outputs.detach().requires_grad_()
            losses_N, weight = self.losses(leaf, targets)
            (derivative,) = torch.autograd.grad(losses_N.sum(), leaf)
        return losses_N.detach(), weight.detach() if isinstance(weight, Tensor) else weight, derivative

    def head_of_block(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Weight, Tensor]:
        """As `head`, for a block of clients, [K, N, ...]."""
        shape = outputs.shape
        losses_N, weight, derivative = self.head(outputs.flatten(0, 1), targets.flatten(0, 1))
        weight = weight.view(shape[:2]) if isinstance(weight, Tensor) else weight
        return losses_N.view(shape[:2]), weight, derivative.view(shape)

    def strata(self, targets: np.ndarray) -> np.ndarray | None:
        """The class of each example that partitions, hold-outs and label noise go by, int64 [N]; None where there is
        none.
        """
        return None
