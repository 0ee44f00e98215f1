"""Metrics of torchmetrics, by name: `metrics=torchmetrics:MulticlassAUROC`.

Shapes: N examples, L classes, labels or numbers of an output, T numbers of a target.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fedsam.border.extra import needed, no_such
from fedsam.errors import InputError
from fedsam.tasks.metric import Metric

SCHEME = "torchmetrics"
KEY = "extra_metrics"
MODULES = "classification", "regression"
COUNTS = "num_classes", "num_labels", "num_outputs"
"""Parameters of which the outputs tell the value."""


class _Kind:
    """What outputs and targets become before a metric sees them."""

    def __init__(self, scores: Callable[[Tensor], Tensor], whole: bool) -> None:
        self.scores, self.whole = scores, whole


KINDS = {
    "Multiclass": _Kind(lambda outputs_NL: outputs_NL.softmax(dim=1), whole=True),
    "Multilabel": _Kind(lambda outputs_NL: outputs_NL.sigmoid(), whole=True),
    "Binary": _Kind(lambda outputs_NL: outputs_NL.softmax(dim=1)[:, 1], whole=True),
    "": _Kind(lambda outputs_NL: outputs_NL, whole=False),
}
"""By how the class is called; those of none of these names are regression's."""


class TorchMetric(Metric):
    """What a class of torchmetrics computes of all outputs and targets together.

    Its settings are its defaults; `num_classes` and its like are the data's. Some of these metrics are no sums, so all
    outputs are kept until the value is asked for, L + T numbers an example.

    Args:
        called: the class.
    """

    def __init__(self, called: str) -> None:
        self.called = called
        self._cls = _class(called)
        about: dict[str, Any] = {"name": re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", called).lower()}
        higher: bool | None = getattr(self._cls, "higher_is_better", None)
        better: Literal["higher", "lower"] = "higher" if higher else "lower"
        if higher is None:
            self._refuse("does not say whether higher is better; write a Metric of your own around it")
        for parameter in inspect.signature(self._cls).parameters.values():
            several = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if parameter.default is parameter.empty and not several and parameter.name not in COUNTS:
                self._refuse(f"needs a value for its parameter {parameter.name}; write a Metric of your own around it")
        vars(self).update(about | {"better": better})

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs and targets, [N, L + T].

        Raises:
            InputError: an output is more than one row of numbers.
        """
        if outputs.ndim != 2 or targets.ndim > 2:
            self._refuse(f"is of one row of outputs for each example, and these are of shape {list(outputs.shape[1:])}")
        return torch.cat([outputs.double(), targets.double().reshape(len(targets), -1)], dim=1)

    def reduced(self, terms_NS: Tensor) -> Tensor:
        """As they are."""
        return terms_NS

    def joined(self, one: Tensor, other: Tensor) -> Tensor:
        """One after the other."""
        return torch.cat([one, other])

    def value(self, total_S: np.ndarray) -> float:
        """What the class computes.

        Raises:
            InputError: it refuses these outputs, or computes more than one number.
        """
        prefix = next(prefix for prefix in KINDS if self.called.startswith(prefix))
        kind, width = KINDS[prefix], total_S.shape[1]
        outputs = width // 2 if prefix in ("Multilabel", "") else width - 1
        given = torch.from_numpy(np.array(total_S))
        targets = given[:, outputs:] if prefix in ("Multilabel", "") else given[:, outputs]
        scores = kind.scores(given[:, :outputs])
        known = {name: outputs for name in COUNTS if name in inspect.signature(self._cls).parameters}
        if not kind.whole and outputs == 1:
            scores, targets = scores[:, 0], targets[:, 0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that no example has
            try:
                metric = self._cls(**known).set_dtype(torch.float64)
                metric.update(scores, targets.long() if kind.whole else targets)
                found = metric.compute()
            except (ValueError, RuntimeError, TypeError) as error:
                self._refuse(f"refuses these outputs ({' '.join(str(error).split())[:200]})")
        if not isinstance(found, Tensor) or found.numel() != 1:
            self._refuse("computes more than one number; write a Metric of your own around it")
        return float(found)

    def _refuse(self, told: str) -> Any:
        raise InputError(KEY, f"{SCHEME}:{self.called}", told)

    def __reduce__(self) -> tuple[Any, ...]:
        return TorchMetric, (self.called,)


def _class(called: str) -> Any:
    """The class of this name.

    Raises:
        InputError: torchmetrics is not installed, or has none for one row of outputs.
    """
    known: dict[str, Any] = {}
    for part in MODULES:
        for name, found in vars(needed(SCHEME, KEY, f"{SCHEME}:{called}", part)).items():
            if inspect.isclass(found) and (part == "regression" or name.startswith(tuple(filter(None, KINDS)))):
                known[name] = found
    if called not in known:
        error = no_such(called, SCHEME, "torchmetrics has no such metric for one row of outputs", known)
        raise InputError(KEY, error.given, error.allowed)
    return known[called]
