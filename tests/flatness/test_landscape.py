"""Loss, gradient and Hessian products against one pass over all examples at once and a Hessian made row by row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedsam.flatness.landscape import Landscape, examples_of
from fedsam.measure.evaluate import evaluate
from fedsam.params import Weights
from tests.oracles.flatness import hessian_of, loss_of, task_of, whole
from tests.support.ragged import Ragged, RaggedFederation


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("batch", [512, 7])
def test_loss_gradient_and_products_are_those_of_the_mean(batch: int) -> None:
    federation, task, theta_P = task_of()
    landscape = whole(federation, task, batch)
    leaf = theta_P.clone().requires_grad_()
    expected = loss_of(federation, task, leaf)
    (gradient,) = torch.autograd.grad(expected, leaf)
    expected = expected.detach()
    loss, found = landscape.loss_and_gradient(theta_P)
    assert loss == pytest.approx(float(expected), rel=1e-12)
    assert landscape.loss(theta_P) == pytest.approx(float(expected), rel=1e-12)
    assert torch.allclose(found, gradient, rtol=0, atol=1e-13)
    assert torch.equal(landscape.gradient(theta_P), found)
    vectors = torch.randn(theta_P.numel(), 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    hessian = hessian_of(federation, task, theta_P)
    assert torch.allclose(landscape.hvp(theta_P, vectors), hessian @ vectors, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_models_with_normalisation(norm: str) -> None:
    federation, task, theta_P = task_of(**{"model.name": "resnet20", "model.norm": norm})
    statistics = () if task.batchnorms is None else (task.batchnorms.initial(theta_P) + 0.5,)
    landscape = whole(federation, task, 20, *statistics)
    leaf = theta_P.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(federation, task, leaf, *statistics), leaf, create_graph=True)
    vector = torch.randn(theta_P.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (expected,) = torch.autograd.grad(gradient, leaf, vector)
    assert (landscape.gradient(theta_P) - gradient).norm() < 1e-11 * gradient.norm()
    assert (landscape.hvp(theta_P, vector[:, None])[:, 0] - expected).norm() < 1e-11 * expected.norm()
    if statistics:
        other = landscape.given(statistics[0] + 0.5)
        assert other.loss(theta_P) != landscape.loss(theta_P)


def test_it_is_what_evaluation_gives() -> None:
    federation, task, theta_P = task_of()
    split = federation.test
    landscape = Landscape(task, split.inputs, split.targets)
    loss, accuracy = evaluate(task, Weights(theta_P), task.place(split))
    assert landscape.loss_and_value(theta_P) == (pytest.approx(loss, rel=1e-12), accuracy)


def test_several_points_at_once() -> None:
    federation, task, theta_P = task_of()
    landscape = whole(federation, task, 16)
    points = theta_P + 0.3 * torch.randn(6, len(theta_P), generator=torch.Generator().manual_seed(3)).double()
    loss_G, accuracy_G = landscape.losses_and_values(points)
    alone = [landscape.loss_and_value(point) for point in points]
    assert loss_G.tolist() == pytest.approx([loss for loss, _ in alone], rel=1e-12)
    assert accuracy_G.tolist() == [accuracy for _, accuracy in alone]
    assert len({round(accuracy, 6) for _, accuracy in alone}) > 1


def test_a_part_is_the_loss_on_these_examples_and_the_cost_is_counted() -> None:
    federation, task, theta_P = task_of()
    landscape = whole(federation, task)
    halves = [landscape.part(np.arange(0, 20)), landscape.part(range(20, 44))]
    mean = sum(half.examples * half.loss(theta_P) for half in halves) / landscape.examples
    assert mean == pytest.approx(landscape.loss(theta_P), rel=1e-12)
    assert halves[0].loss(theta_P) != pytest.approx(halves[1].loss(theta_P), rel=1e-3)
    assert landscape.evaluations == 0
    landscape.gradient(theta_P)
    landscape.hvp(theta_P, torch.eye(len(theta_P), 3).double())
    assert landscape.evaluations == 1 + 2 * 3


def test_examples_of_all_clients_are_theirs_each_once() -> None:
    federation = Ragged().load(0)
    split = examples_of(federation, 5)
    assert len(split) == sum(federation.sizes(range(7)))
    assert np.array_equal(split.inputs, federation.train.inputs)
    drawn = examples_of(federation, 5, 30)
    again, other = examples_of(federation, 5, 30), examples_of(federation, 6, 30)
    assert len(drawn) == 30
    assert np.array_equal(drawn.inputs, again.inputs)
    assert not np.array_equal(drawn.inputs, other.inputs)
    rows = {image.tobytes(): label for image, label in zip(split.inputs, split.targets, strict=True)}
    assert len({image.tobytes() for image in drawn.inputs}) == 30
    assert [rows[image.tobytes()] for image in drawn.inputs] == drawn.targets.tolist()


def test_examples_are_drawn_in_proportion_to_the_clients_sizes() -> None:
    federation = Ragged().load(0)
    owner = {image.tobytes(): k for k in range(7) for image in examples_of(federation, 0, None, [k]).inputs}
    assert [sum(k == client for k in owner.values()) for client in range(7)] == list(federation.SIZES)
    counts = np.zeros(7)
    for seed in range(300):
        for image in examples_of(federation, seed, 12).inputs:
            counts[owner[image.tobytes()]] += 1
    expected = 300 * 12 * np.array(federation.SIZES) / 61
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))


def test_examples_of_single_clients() -> None:
    federation = Ragged().load(0)
    store, (two, six) = federation.examples([2, 6])
    split = examples_of(federation, 0, None, [6, 2])
    assert np.array_equal(split.targets, store.targets[np.concatenate([six, two])])
    few = examples_of(federation, 0, 5, [6])
    mine = {store.inputs[i].tobytes() for i in six}
    assert len(few) == 5
    assert {image.tobytes() for image in few.inputs} < mine


def test_examples_beside_clients_without_any() -> None:
    class Holed(RaggedFederation):
        SIZES = (0, 3, 0, 0, 5, 2, 0)

    federation = Holed(7, 4, 1, 0)
    assert np.array_equal(examples_of(federation, 0).inputs, federation.train.inputs)
    assert np.array_equal(examples_of(federation, 0, None, [3, 4]).targets, federation.train.targets[3:8])
