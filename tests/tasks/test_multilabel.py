"""Loss, derivative and metrics of several labels against torch and scikit-learn; a run of them.

Shapes: N examples, L labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch.nn import functional as F  # noqa: N812

from fedsam import Run, simulate
from fedsam.data.spec import Spec
from fedsam.errors import InputError
from fedsam.tasks.base import Metric
from fedsam.tasks.multilabel import LabelF1, MeanAveragePrecision, Multilabel
from tests.support.discovered import ENGINES

N, L = 83, 5
RNG = torch.Generator().manual_seed(2)
TARGETS = torch.randint(2, (N, L), generator=RNG)
TARGETS[:, -1] = 0  # a label that holds of no example
OUTPUTS = (TARGETS + 1.5 * torch.randn(N, L, generator=RNG)).round(decimals=1).double() - 0.5  # with equal scores


def value(metric: Metric, batch: int = 9) -> float:
    total: Any = None
    for outputs, targets in zip(OUTPUTS.split(batch), TARGETS.split(batch), strict=True):
        more = metric.total(outputs, targets)
        total = more if total is None else metric.joined(total, more)
    found: float = metric.value(total.numpy())
    return found


def test_metrics_are_scikit_learns() -> None:
    y, z = TARGETS.numpy(), OUTPUTS.numpy()
    assert len(np.unique(z[:, 0])) < N
    some = [reference.average_precision_score(y[:, at], z[:, at]) for at in range(L - 1)]
    assert value(MeanAveragePrecision()) == pytest.approx(np.mean(some), rel=1e-12)
    assert value(LabelF1()) == pytest.approx(reference.f1_score(y, z > 0, average="macro", zero_division=0), rel=1e-12)


def test_loss_and_derivative_are_torchs() -> None:
    outputs, targets = 40 * OUTPUTS, TARGETS.double()
    leaf = outputs.clone().requires_grad_()
    expected = F.binary_cross_entropy_with_logits(leaf, targets, reduction="none").mean(dim=1)
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    losses, _, derivative = Multilabel().head(outputs, TARGETS)
    torch.testing.assert_close(losses, expected.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(derivative, slope, rtol=1e-12, atol=1e-15)


KEYS = {
    "data.name": "tests.support.labels:Signs",
    "data.partition": "iid",
    "data.clients": 8,
    "cohort": 4,
    "rounds": 30,
}


@pytest.mark.parametrize("engine", ENGINES)
def test_labels_are_learnt(engine: str) -> None:
    keys = {**KEYS, "data.local_test": 0.2, "local.every": 15, "task.extra_metrics": "all", "engine.name": engine}
    last = simulate(Run.from_keys(keys)).metrics[-1]
    assert last["test_mean_average_precision"] > 0.9
    assert last["test_macro_f1"] > 0.8
    assert last["local"]["before"]["mean"] > 0.8


def test_other_targets_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"data\.name = .*Signs: task\.name=multilabel needs targets of zeros and ones, and .* has 2"
    ):
        simulate(Run.from_keys({**KEYS, "data.wrong": True}))
    with pytest.raises(InputError, match=r"needs targets \[N, L\] of zeros and ones"):
        Multilabel().output_shape(Spec(3, (4,)))
