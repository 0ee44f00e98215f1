"""Metrics of a user's own, by name: a `Metric` class or object, or a function of outputs and targets.

Shapes: N examples.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from fedsam.border.content import summed
from fedsam.border.foreign import imported
from fedsam.border.given import Holder, carried, holder, known, named
from fedsam.errors import InputError
from fedsam.tasks.metric import MeanOverExamples, Metric
from fedsam.tasks.torch_metrics import SCHEME, TorchMetric

TOLD = "must be a function (outputs, targets) that gives a number for each example, or a Metric"


class Mean(MeanOverExamples):
    """The mean over examples of what a function gives for each.

    Args:
        function: of outputs and targets, [N, ...] each; it gives a number for each example, [N]. Its attributes
            `better` ("higher" unless it says "lower") and `unit` are the metric's.
        found_by: its name as a key has it.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], found_by: str) -> None:
        self.function, self.found_by = function, found_by
        called = getattr(function, "__name__", type(function).__name__)
        about: dict[str, Any] = {"name": "".join(letter if letter.isalnum() else "_" for letter in called).strip("_")}
        about |= {"better": getattr(function, "better", "higher"), "unit": str(getattr(function, "unit", ""))}
        if about["better"] not in ("higher", "lower"):
            raise InputError("extra_metrics", found_by, "its `better` must be higher or lower")
        vars(self).update(about)

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Each example's number.

        Raises:
            InputError: there is not one for each.
        """
        found: Any = self.function(outputs, targets)
        if not isinstance(found, Tensor) or found.shape != (len(outputs),):
            shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            told = f"gave {shape} for {len(outputs)} examples, must give a tensor [{len(outputs)}], a number for each"
            raise InputError("extra_metrics", self.name, told)
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.found_by, carried([self.found_by]))


def _restored(name: str, things: dict[str, Any]) -> Metric:
    with known(things):
        return metric_named(name)


def taken(thing: Any) -> Holder:
    """The holder of a metric that is given as an object.

    Raises:
        InputError: it is none.
    """
    if not (isinstance(thing, Metric) or callable(thing)):
        raise InputError("metrics", thing, TOLD)
    return named(thing, getattr(thing, "__name__", type(thing).__name__), lambda: summed(thing))


def metric_named(name: str) -> Metric:
    """The metric that `package.module:attribute`, `torchmetrics:Class` or an object's name stands for.

    Raises:
        InputError: there is none.
    """
    scheme, _, called = name.partition(":")
    if scheme == SCHEME:
        return TorchMetric(called)
    there = holder(name)
    found = there.thing if there else imported(name)
    if isinstance(found, Metric):
        return found
    if inspect.isclass(found) and issubclass(found, Metric):
        return found()
    if not callable(found) or inspect.isclass(found):
        raise InputError("extra_metrics", name, TOLD)
    return Mean(found, name)
