"""Loss, derivative and metrics of classification against torch, scikit-learn and sums by hand.

Shapes: N examples, L classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fedsam import Run, simulate
from fedsam.errors import InputError
from fedsam.run import digest_of
from fedsam.tasks.base import Metric, Task
from fedsam.tasks.class_metrics import (
    Accuracy,
    BalancedAccuracy,
    CalibrationError,
    ConfusionMatrix,
    MacroF1,
    PerClassAccuracy,
    Top5,
)
from fedsam.tasks.classification import Classification

N, L = 200, 7
RNG = torch.Generator().manual_seed(0)
LOGITS = 2 * torch.randn(N, L, generator=RNG, dtype=torch.float64)
TARGETS = torch.randint(L - 1, (N,), generator=RNG)  # the last class has no example
PREDICTED = LOGITS.argmax(dim=1)


def value(metric: Metric, parts: int = 1) -> Any:
    """Of all examples, added up over so many batches."""
    batches = zip(LOGITS.chunk(parts), TARGETS.chunk(parts), strict=True)
    return metric.value(sum(metric.total(outputs, targets) for outputs, targets in batches).numpy())  # type: ignore[union-attr]


def test_metrics_are_scikit_learns() -> None:
    y, p = TARGETS.numpy(), PREDICTED.numpy()
    assert value(Accuracy()) == reference.accuracy_score(y, p)
    assert value(MacroF1()) == pytest.approx(reference.f1_score(y, p, average="macro"), rel=1e-12)
    some = reference.recall_score(y, p, labels=range(L - 1), average=None)
    assert value(BalancedAccuracy()) == pytest.approx(some.mean(), rel=1e-12)
    *found, without_examples = value(PerClassAccuracy())
    assert found == pytest.approx(some.tolist(), rel=1e-12)
    assert without_examples is None
    assert value(Top5()) == pytest.approx(reference.top_k_accuracy_score(y, LOGITS.numpy(), k=5, labels=range(L)))
    assert value(ConfusionMatrix()) == reference.confusion_matrix(y, p, labels=range(L)).tolist()


def test_calibration_error_by_hand() -> None:
    sure, right = LOGITS.softmax(dim=1).max(dim=1).values.numpy(), (PREDICTED == TARGETS).numpy()
    expected = 0.0
    for b in range(15):
        inside = (sure > b / 15) & (sure <= (b + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert value(CalibrationError()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", Classification.metrics, ids=lambda metric: metric.name)
def test_metrics_add_up_over_batches_and_examples(metric: Metric) -> None:
    whole, parted = np.array(value(metric), dtype=float), np.array(value(metric, 7), dtype=float)
    np.testing.assert_allclose(parted, whole, rtol=1e-12)
    terms = metric.statistics(LOGITS, TARGETS)
    torch.testing.assert_close(terms.sum(dim=0), metric.total(LOGITS, TARGETS), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mixed", [False, True], ids=["classes", "probabilities"])
def test_the_head_is_the_derivative_of_the_loss(mixed: bool) -> None:
    targets = torch.rand(N, L, generator=RNG, dtype=torch.float64) if mixed else TARGETS
    task, leaf = Classification(), LOGITS.clone().requires_grad_()
    losses, weight = task.losses(leaf, targets)
    torch.testing.assert_close(losses, F.cross_entropy(LOGITS, targets, reduction="none"), rtol=1e-12, atol=0)
    by_head, head_weight, derivative = task.head(LOGITS.clone(), targets)
    assert weight == head_weight == 1
    torch.testing.assert_close(by_head, losses.detach(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(derivative, torch.autograd.grad(losses.sum(), leaf)[0], rtol=1e-10, atol=1e-14)
    usual = Task.head(task, LOGITS, targets)  # what a task has that derives nothing by hand
    torch.testing.assert_close(usual[2], derivative, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("kind", [Classification.head_of_block, Task.head_of_block], ids=["closed form", "usual"])
def test_the_head_of_a_block_is_that_of_each_client(kind: Any) -> None:
    outputs, targets = LOGITS.view(4, N // 4, L), TARGETS.view(4, -1)
    losses, _, derivative = kind(Classification(), outputs.clone(), targets)
    for k in range(4):
        alone: tuple[Tensor, Any, Tensor] = Classification().head(outputs[k].clone(), targets[k])
        torch.testing.assert_close(losses[k], alone[0], rtol=1e-12, atol=0)
        torch.testing.assert_close(derivative[k], alone[2], rtol=1e-12, atol=0)


def test_more_metrics_are_recorded_where_asked_for() -> None:
    keys = {"rounds": 2, "evaluate_every": 1, "task.extra_metrics": "all", "data.clients": 10, "engine.threads": 1}
    first, last = simulate(Run.from_keys(keys)).metrics
    plain = simulate(Run.from_keys({**keys, "task.extra_metrics": ""})).metrics[-1]
    others = {f"test_{metric.name}" for metric in Classification.metrics[1:]}
    assert others == last.keys() - plain.keys()
    assert first.keys() ^ last.keys() == {"test_per_class_accuracy", "test_confusion_matrix"}
    matrix = np.array(last["test_confusion_matrix"])
    assert matrix.trace() / matrix.sum() == last["test_accuracy"] == plain["test_accuracy"]
    one = simulate(Run.from_keys({**keys, "task.extra_metrics": "macro_f1"})).metrics[-1]
    assert {"test_macro_f1"} == one.keys() - plain.keys()


def test_a_metric_that_there_is_not_is_refused() -> None:
    told = r"task\.extra_metrics = f1: classification has macro_f1, .*confusion_matrix, or all"
    for name in ("classification", "auto"):
        with pytest.raises(InputError, match=told):
            Run.from_keys({"task.name": name, "task.extra_metrics": "f1"})


def test_a_run_is_the_same_whether_its_task_is_said_or_not() -> None:
    said = Run.from_keys({"task.name": "classification"})
    assert Run().learnt == said.learnt
    before = {name: value for name, value in Run().keys().items() if not name.startswith("task.")}
    assert Run().digest() == digest_of(before), "sweeps from before there were tasks are found again"
    assert said.digest() != Run().digest()
