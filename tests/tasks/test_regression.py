"""Loss, derivative and metrics of regression against torch and scikit-learn, and the tables that are carried.

Shapes: N examples, D numbers of a target.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fedsam import Run, simulate
from fedsam.data.diabetes import Diabetes
from fedsam.data.spec import Spec
from fedsam.errors import InputError
from fedsam.tasks.base import Metric
from fedsam.tasks.regression import MAE, R2, RMSE, Regression

N, D = 57, 3
RNG = torch.Generator().manual_seed(1)
TARGETS = 5 + torch.randn(N, D, generator=RNG, dtype=torch.float64)
OUTPUTS = TARGETS + 2 * torch.randn(N, D, generator=RNG, dtype=torch.float64)


def value(metric: Metric, outputs: Tensor = OUTPUTS, targets: Tensor = TARGETS, batch: int = 8) -> float:
    """In ragged batches."""
    parts = [metric.total(*pair) for pair in zip(outputs.split(batch), targets.split(batch), strict=True)]
    found: float = metric.value(sum(parts[1:], parts[0]).numpy())
    return found


def test_metrics_are_scikit_learns() -> None:
    y, z = TARGETS.numpy(), OUTPUTS.numpy()
    assert value(RMSE()) == pytest.approx(reference.mean_squared_error(y, z) ** 0.5, rel=1e-12)
    assert value(MAE()) == pytest.approx(reference.mean_absolute_error(y, z), rel=1e-12)
    assert value(R2()) == pytest.approx(reference.r2_score(y, z), rel=1e-10)
    assert value(R2(), OUTPUTS[:, :1], TARGETS[:, 0]) == pytest.approx(reference.r2_score(y[:, 0], z[:, 0]), rel=1e-10)


def test_r2_of_targets_that_do_not_vary() -> None:
    constant = torch.full((9, 1), 0.1, dtype=torch.float64)
    assert value(R2(), constant, constant) == 1.0
    assert value(R2(), constant + 1, constant) == 0.0 == reference.r2_score(constant.numpy(), constant.numpy() + 1)


@pytest.mark.parametrize("delta", [None, 0.5, 1.5])
@pytest.mark.parametrize("shape", [(N, D), (N,)])
def test_loss_and_derivative_are_torchs(delta: float | None, shape: tuple[int, ...]) -> None:
    targets = TARGETS.flatten()[: int(np.prod(shape))].view(shape)
    outputs = (targets + 2 * torch.linspace(-1, 1, targets.numel(), dtype=torch.float64).view(shape)).view(N, -1)
    leaf, task = outputs.clone().requires_grad_(), Regression(delta=delta)
    rest = {"reduction": "none"} if delta is None else {"reduction": "none", "delta": delta}
    loss = F.mse_loss if delta is None else F.huber_loss
    expected = loss(leaf.view(shape), targets, **rest).view(N, -1).mean(dim=1)  # type: ignore[operator]
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    for losses, weight, *derivative in (task.losses(outputs, targets), task.head(outputs, targets)):
        torch.testing.assert_close(losses, expected.detach(), rtol=1e-12, atol=0)
        assert weight == 1.0
        for found in derivative:
            torch.testing.assert_close(found, slope, rtol=1e-12, atol=1e-15)


def test_classes_are_refused() -> None:
    with pytest.raises(InputError, match=r"needs targets that are numbers, and the data set has classes"):
        Regression().output_shape(Spec(3, (4,)))


def test_diabetes_is_learnt() -> None:
    """The error falls clearly below 1, that of the mean; least squares has 0.72."""
    spec, train, test = Diabetes().read()
    assert (spec.shape, len(train), len(test)) == ((10,), 332, 110)
    np.testing.assert_allclose(train.inputs.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(train.inputs.std(axis=0), 1, atol=1e-5)
    both = np.concatenate([train.targets, test.targets])
    assert (abs(both.mean()), both.std()) == pytest.approx((0, 1), abs=1e-6)
    keys = {"data.name": "diabetes", "client.name": "sam", "client.lr": 0.05, "rounds": 40, "task.extra_metrics": "all"}
    last = simulate(Run.from_keys({**keys, "average.name": "swa", "average.cycle": 1})).metrics[-1]
    assert last["test_rmse"] < 0.8
    assert last["test_r2"] > 0.35
    assert "test_accuracy" not in last
    with pytest.raises(InputError, match=r"data\.partition = dirichlet: needs classes"):
        Run.from_keys({"data.name": "diabetes", "data.partition": "dirichlet"})


def test_breast_cancer_is_learnt() -> None:
    keys = {"data.name": "breast_cancer", "client.name": "asam", "rounds": 30, "task.extra_metrics": "macro_f1"}
    result = simulate(Run.from_keys(keys))
    assert result.metrics[-1]["test_accuracy"] > 0.9
    assert result.metrics[-1]["test_macro_f1"] > 0.9
