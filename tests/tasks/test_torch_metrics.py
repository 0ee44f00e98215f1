"""Metrics of torchmetrics against scikit-learn's, in a run and by parts."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import Tensor

from fedsam import InputError, Run, simulate
from fedsam.tasks.own_metric import metric_named

pytest.importorskip("torchmetrics")
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(60, 4))
CLASSES = RNG.integers(0, 4, 60)
SHARES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
LABELS = (RNG.random((60, 4)) < 0.4).astype(np.float64)
NUMBERS = RNG.normal(size=(60, 1))


def measured(name: str, outputs: np.ndarray, targets: np.ndarray) -> float:
    """In three parts, joined."""
    metric = metric_named(f"torchmetrics:{name}")
    parts = [
        metric.total(torch.tensor(outputs[at]), torch.tensor(targets[at])) for at in np.array_split(np.arange(60), 3)
    ]
    total: Tensor = metric.joined(metric.joined(parts[0], parts[1]), parts[2])
    value = metric.value(total.numpy())
    assert isinstance(value, float)
    return value


def test_against_scikit_learn() -> None:
    assert measured("MulticlassAUROC", LOGITS, CLASSES) == pytest.approx(
        sk.roc_auc_score(CLASSES, SHARES, multi_class="ovr"), abs=1e-6
    )
    assert measured("MulticlassF1Score", LOGITS, CLASSES) == pytest.approx(
        sk.f1_score(CLASSES, LOGITS.argmax(1), average="macro"), abs=1e-6
    )
    assert measured("MultilabelAveragePrecision", LOGITS, LABELS) == pytest.approx(
        sk.average_precision_score(LABELS, LOGITS), abs=1e-6
    )
    assert measured("BinaryAUROC", LOGITS[:, :2], CLASSES % 2) == pytest.approx(
        sk.roc_auc_score(CLASSES % 2, SHARES[:, 1] / SHARES[:, :2].sum(1)), abs=1e-6
    )
    truth = NUMBERS[:, 0] + RNG.normal(size=60)
    assert measured("MeanAbsoluteError", NUMBERS, truth) == pytest.approx(
        sk.mean_absolute_error(truth, NUMBERS[:, 0]), abs=1e-12
    )


def test_direction_and_name() -> None:
    error, area = (metric_named(f"torchmetrics:{name}") for name in ("MeanSquaredError", "MulticlassAUROC"))
    assert (error.name, error.better) == ("mean_squared_error", "lower")
    assert (area.name, area.better) == ("multiclass_auroc", "higher")
    assert pickle.loads(pickle.dumps(area)).score == area.score


def test_in_a_run() -> None:
    by_name = Run(metrics="torchmetrics:MulticlassAUROC, macro_f1", rounds=1, cohort=2)
    assert by_name == Run.from_keys({"metrics": "torchmetrics:MulticlassAUROC,macro_f1", "rounds": 1, "cohort": 2})
    last = simulate(by_name).metrics[-1]
    assert 0.5 < last["test_multiclass_auroc"] < 1
    assert "test_macro_f1" in last


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("MulticlassFBetaScore", "needs a value for its parameter beta"),
        ("MulticlassConfusionMatrix", "does not say whether higher is better"),
        ("SignalNoiseRatio", "no such metric for one row of outputs"),
    ],
)
def test_refusals(name: str, told: str) -> None:
    with pytest.raises(InputError, match=rf"task.extra_metrics = torchmetrics:{name}: .*{told}"):
        Run(metrics=[f"torchmetrics:{name}"])


def test_what_is_no_row_of_outputs_is_refused() -> None:
    metric = metric_named("torchmetrics:MulticlassAccuracy")
    with pytest.raises(InputError, match=r"one row of outputs for each example, and these are of shape \[4, 8, 8\]"):
        metric.total(torch.zeros(2, 4, 8, 8), torch.zeros(2, 8, 8))
