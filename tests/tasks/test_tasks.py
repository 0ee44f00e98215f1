"""Tasks: what all that are discovered must be, on every kind of targets that they take.

Shapes: N examples, K clients, T tokens, H height, W width.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedsam import InputError
from fedsam.config import find
from fedsam.data.spec import Spec
from fedsam.tasks.base import Task
from tests.support.discovered import found

N, CLASSES = 23, 4
RNG = torch.Generator().manual_seed(5)
NAMES = ("one", "two", "three", "four")
LABELS = torch.randint(CLASSES, (N,), generator=RNG)
MASKS = torch.randint(CLASSES, (N, 3, 5), generator=RNG)
TOKENS = torch.randint(CLASSES, (N, 6), generator=RNG)
KINDS: dict[str, tuple[Spec, Tensor]] = {
    "classes": (Spec(CLASSES, (2,), names=NAMES), LABELS),
    "numbers": (Spec(None, (2,)), torch.randn(N, generator=RNG).double()),
    "several numbers": (Spec(None, (2,), target_shape=(3,)), torch.randint(2, (N, 3), generator=RNG).double()),
    "masks": (Spec(CLASSES, (3, 5, 1), target_shape=(3, 5), names=NAMES), MASKS),
    "tokens": (Spec(CLASSES, (6,), dtype="int64", target_shape=(6,), vocabulary=CLASSES, names=NAMES), TOKENS),
}
TASK: Any = Task


def taken(name: str) -> list[str]:
    """The kinds of targets that a task can be learnt from."""
    kinds = []
    for kind, (spec, targets) in KINDS.items():
        try:
            task = find(TASK, name)().on(spec)
            task.output_shape(spec)
            task.check_targets(targets.numpy())
        except InputError:
            continue
        kinds.append(kind)
    return kinds


TASKS = found(TASK, auto="stands for the data set's own task")
CASES = [(name, kind) for name in TASKS for kind in taken(name)]
every = pytest.mark.parametrize(("name", "kind"), CASES)


def example(name: str, kind: str) -> tuple[Any, Tensor, Tensor]:
    """The task, outputs for its examples, and their targets."""
    spec, targets = KINDS[kind]
    task = find(TASK, name)(extra_metrics="all").on(spec)
    draw = torch.Generator().manual_seed(1)
    return task, torch.randn(N, *task.output_shape(spec), generator=draw, dtype=torch.float64), targets


@pytest.mark.parametrize("name", TASKS)
def test_every_task_can_be_learnt_from_some_kind_of_targets(name: str) -> None:
    """Else nothing below would try it."""
    assert taken(name)


@every
def test_losses_are_of_each_example_alone(name: str, kind: str) -> None:
    task, outputs, targets = example(name, kind)
    losses_N, weight = task.losses(outputs, targets)
    assert losses_N.shape == (N,)
    assert losses_N.isfinite().all()
    one = [task.losses(outputs[n : n + 1], targets[n : n + 1]) for n in range(N)]
    torch.testing.assert_close(losses_N, torch.cat([each for each, _ in one]), rtol=1e-12, atol=0)
    if isinstance(weight, Tensor):
        assert weight.shape == (N,)
        torch.testing.assert_close(weight, torch.cat([own for _, own in one]), rtol=0, atol=0)
    else:
        assert weight > 0
        assert {own for _, own in one} == {weight}


@every
def test_the_derivative_is_the_slope_of_the_losses(name: str, kind: str) -> None:
    """Against differences in float64, along random directions, not against autograd."""
    task, outputs, targets = example(name, kind)
    losses_N, weight, derivative = task.head(outputs, targets)
    plain_N, own = task.losses(outputs, targets)
    torch.testing.assert_close(losses_N, plain_N, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(torch.as_tensor(weight), torch.as_tensor(own), rtol=0, atol=0)
    assert derivative.shape == outputs.shape
    for seed in range(3):
        way = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        above, below = (task.losses(outputs + step * way, targets)[0].sum() for step in (1e-6, -1e-6))
        assert float((derivative * way).sum()) == pytest.approx(float(above - below) / 2e-6, rel=1e-6, abs=1e-6)


@every
def test_a_block_of_clients_is_its_clients(name: str, kind: str) -> None:
    task, outputs, targets = example(name, kind)
    K = 2
    rows = [torch.arange(k, k + 9) for k in range(K)]
    block = task.head_of_block(torch.stack([outputs[r] for r in rows]), torch.stack([targets[r] for r in rows]))
    for k, own in enumerate(rows):
        losses_N, weight, derivative = task.head(outputs[own], targets[own])
        torch.testing.assert_close(block[0][k], losses_N, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(block[2][k], derivative, rtol=1e-12, atol=1e-14)
        assert isinstance(block[1], Tensor) == isinstance(weight, Tensor)
        if isinstance(block[1], Tensor):
            torch.testing.assert_close(block[1][k], weight, rtol=0, atol=0)


@every
def test_metrics_of_parts_make_those_of_the_whole(name: str, kind: str) -> None:
    task, outputs, targets = example(name, kind)
    assert [metric.name for metric in task.recorded] == [metric.name for metric in task.metrics]
    for metric in task.recorded:
        whole = metric.value(metric.total(outputs, targets).numpy())
        json.dumps(whole)
        for cuts in ([1] * N, [9, 9, 5], [5, 18]):
            parts = [metric.total(*each) for each in zip(outputs.split(cuts), targets.split(cuts), strict=True)]
            total = parts[0]
            for more in parts[1:]:
                total = metric.joined(total, more)
            np.testing.assert_allclose(
                np.array(metric.value(total.numpy()), dtype=float), np.array(whole, dtype=float), rtol=1e-9
            )


@pytest.mark.parametrize("name", TASKS)
def test_metrics_have_names_of_their_own_and_a_direction(name: str) -> None:
    task = find(TASK, name)(extra_metrics="all")
    told = [score.name for score in task.scores]
    assert len(set(told)) == len(told)
    assert told[1] == "loss"
    assert {score.better for score in task.scores} <= {"higher", "lower"}
    assert task.headline is task.metrics[0]
    with pytest.raises(InputError, match=f"extra_metrics = none such: {name} has"):
        find(TASK, name)(extra_metrics="none such")


@every
def test_strata_are_a_class_of_each_example(name: str, kind: str) -> None:
    task, _, targets = example(name, kind)
    strata = task.strata(targets.numpy())
    assert (strata is not None) == ("classes" in task.offers)
    if strata is not None:
        assert strata.shape == (N,)
        assert strata.dtype == np.int64
        assert 0 <= strata.min() <= strata.max() < CLASSES
