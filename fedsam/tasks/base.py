"""What a task is: what a model must give, its loss, and the metrics that it is scored by.

Shapes: N examples, S statistics of a metric, P parameters; `...` is what the task makes of one example.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from fedsam.border.given import Holder, holder
from fedsam.config import LARGE, Component, key
from fedsam.errors import InputError
from fedsam.measure.score import Score
from fedsam.tasks.metric import Metric
from fedsam.tasks.own_metric import metric_named

if TYPE_CHECKING:
    from fedsam.data.spec import Spec

Weight = Tensor | float


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
        "",
        "metrics that are recorded beside the first: all, or their names with commas, also package.module:function and"
        " torchmetrics:Class; as metrics=, too",
        "off",
    )

    auxiliary_weight: float = key(
        0.4,
        "weight of the loss of each auxiliary output that a model gives in training, beside that of its main output",
        "PSPNet in mmsegmentation, after Zhao et al. 2017; 1 in FedDrive's code",
        ge=0.0,
        le=LARGE,
    )

    _own: tuple[Holder | None, ...] = ()

    def model_post_init(self, context: object) -> None:
        """Refuse metrics that there are not, and keep those that are objects of this process."""
        self._keep()
        self.recorded  # noqa: B018 - raises

    def _keep(self) -> None:
        """Hold the objects that metrics are made of."""
        self._own = tuple(holder(name.strip()) for name in self.extra_metrics.split(",") if ":" in name)

    @property
    def recorded(self) -> tuple[Metric, ...]:
        """The metrics that are recorded, the headline first.

        Raises:
            InputError: one is asked for that this task has not.
        """
        asked = [name.strip() for name in self.extra_metrics.split(",") if name.strip()]
        others = {metric.name: metric for metric in self.metrics[1:]}
        names = list(others) if asked == ["all"] else list(dict.fromkeys(asked))
        for name in names:
            if ":" not in name and name not in others:
                allowed = f"{self.name} has {', '.join(others) or 'none'}, or all, or your own package.module:function"
                raise InputError("extra_metrics", self.extra_metrics, allowed)
        found = self.metrics[:1] + tuple(metric_named(name) if ":" in name else others[name] for name in names)
        called = [metric.name for metric in found]
        if twice := next((name for name in called if called.count(name) > 1 or name == "loss"), None):
            told = f"there is another metric called {twice}; rename yours"
            raise InputError("extra_metrics", self.extra_metrics, told)
        return found

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
