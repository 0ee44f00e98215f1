"""Directions, lines and planes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fedsam import RunError
from fedsam.flatness import landscape as module
from fedsam.flatness.directions import filter_normalised, random_direction
from fedsam.flatness.draws import normal
from fedsam.flatness.surface import between, line, plane, through
from tests.oracles.flatness import Quadratic, task_of, whole


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def near(theta_P: Tensor, seed: int, scale: float = 0.5) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return theta_P + scale * torch.randn(theta_P.shape, generator=rng, dtype=theta_P.dtype)


@pytest.mark.parametrize("model", [{}, {"model.name": "resnet20"}])
@pytest.mark.parametrize("vectors", [False, True])
def test_each_filter_of_a_direction_is_as_long_as_that_of_the_weights(model: dict[str, str], vectors: bool) -> None:
    _, task, theta_P = task_of(**model)
    direction_P = random_direction(task.layout, theta_P, 4, 1, vectors)
    drawn = task.layout.views(normal(theta_P, 4, "surface direction", 1))
    weights, found = task.layout.views(theta_P), task.layout.views(direction_P)
    filters = 0
    for name, weight in weights.items():
        if weight.dim() < 2:
            length = float(weight.norm()) if vectors else 0.0
            assert float(found[name].norm()) == pytest.approx(length, rel=1e-9)
            continue
        for each, w, d in zip(found[name], weight, drawn[name], strict=True):
            assert float(each.norm()) == pytest.approx(float(w.norm()), rel=1e-9)
            assert float((each / each.norm() - d / d.norm()).norm()) < 1e-9
            filters += 1
    assert filters >= 8
    assert not torch.equal(direction_P, random_direction(task.layout, theta_P, 4, 0, vectors))


def test_an_empty_filter_stays_empty() -> None:
    _, task, theta_P = task_of()
    direction_P = normal(theta_P, 0, "any")
    direction_P[:16] = 0.0
    found = filter_normalised(task.layout, theta_P, direction_P)
    assert not found[:16].any()
    assert found[16:32].all()


def test_lines_pass_through_their_ends() -> None:
    federation, task, a_P = task_of()
    b_P = near(a_P, 1)
    landscape = whole(federation, task)
    found = between(landscape, a_P, b_P)
    assert (found.t[0], found.t[4], found.t[20], found.t[-1]) == (-0.25, 0.0, 1.0, 1.25)
    for at, theta_P in ((4, a_P), (20, b_P), (12, (a_P + b_P) / 2), (0, 1.25 * a_P - 0.25 * b_P)):
        loss, accuracy = landscape.loss_and_value(theta_P)
        assert found.loss[at] == pytest.approx(loss, rel=1e-12)
        assert found.value[at] == accuracy
    along = line(landscape, a_P, b_P - a_P, found.t)
    assert along.loss == pytest.approx(found.loss, rel=1e-9)


def test_a_line_over_a_quadratic_is_its_parabola() -> None:
    _, task, theta_P = task_of()
    direction_P = near(theta_P * 0, 2)
    landscape = Quadratic(task, torch.diag(theta_P.abs()), theta_P)
    landscape.losses_and_values = lambda points: tuple(  # type: ignore[method-assign,assignment,return-value]
        torch.tensor([landscape.loss_and_value(p)[part] for p in points], dtype=torch.float64) for part in (0, 1)
    )
    found = line(landscape, theta_P, direction_P, [-1.0, 0.0, 2.0])
    curvature = float((theta_P.abs() * direction_P**2).sum())
    assert found.loss == pytest.approx([curvature / 2, 0.0, 2 * curvature], rel=1e-12)


@pytest.mark.parametrize("n", [5, 7])
def test_a_surface_has_the_model_in_its_centre_and_x_along_its_rows(n: int) -> None:
    federation, task, theta_P = task_of()
    landscape = whole(federation, task)
    right_P, up_P = (random_direction(task.layout, theta_P, 0, number) for number in (0, 1))
    found = plane(landscape, theta_P, right_P, up_P, n, 0.8)
    middle = n // 2
    assert found.x == found.y == pytest.approx(np.linspace(-0.8, 0.8, n).tolist(), abs=1e-15)
    assert found.x[middle] == 0.0
    assert found.loss[middle][middle] == pytest.approx(landscape.loss(theta_P), rel=1e-12)
    for row, column in ((0, 0), (1, n - 1), (n - 1, 1)):
        at_P = theta_P + found.x[column] * right_P + found.y[row] * up_P
        assert found.loss[row][column] == pytest.approx(landscape.loss(at_P), rel=1e-12)
        assert found.value[row][column] == landscape.loss_and_value(at_P)[1]
    assert np.array(found.loss).shape == (n, n)
    assert landscape.evaluations == 0


def test_a_plane_through_three_models() -> None:
    federation, task, a_P = task_of()
    corners = [a_P, near(a_P, 1), near(a_P, 2, 0.8)]
    landscape = whole(federation, task)
    found = through(landscape, *corners, n=4)  # type: ignore[arg-type]
    assert float(found.span.right_P.norm()) == pytest.approx(1.0, rel=1e-12)
    assert float(found.span.up_P.norm()) == pytest.approx(1.0, rel=1e-12)
    assert float(found.span.right_P @ found.span.up_P) == pytest.approx(0.0, abs=1e-12)
    for (x, y), theta_P in zip(found.points, corners, strict=True):
        assert float((found.span.at(x, y) - theta_P).norm()) < 1e-10
    assert found.points[0] == (0.0, 0.0)
    assert found.points[1] == (pytest.approx(float((corners[1] - a_P).norm())), 0.0)
    for axis, part in ((found.x, 0), (found.y, 1)):
        at = [point[part] for point in found.points]
        room = 0.25 * (max(at) - min(at))
        assert (axis[0], axis[-1]) == (pytest.approx(min(at) - room), pytest.approx(max(at) + room))
    assert found.loss[3][1] == pytest.approx(landscape.loss(found.span.at(found.x[1], found.y[3])), rel=1e-12)


def test_three_models_on_a_line_span_no_plane() -> None:
    federation, task, a_P = task_of()
    b_P = near(a_P, 1)
    landscape = whole(federation, task)
    for corners in ((a_P, b_P, 2 * b_P - a_P), (a_P, a_P, b_P), (a_P, b_P, b_P), (a_P, b_P, a_P)):
        with pytest.raises(RunError, match="on one line"):
            through(landscape, *corners, n=3)


def test_points_at_once_and_one_by_one_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    federation, task, theta_P = task_of()
    landscape = whole(federation, task, 16)
    right_P, up_P = (random_direction(task.layout, theta_P, 0, number) for number in (0, 1))
    assert landscape.together == 32
    many = plane(landscape, theta_P, right_P, up_P, 7)
    monkeypatch.setattr(module, "TOGETHER", 1)
    assert landscape.together == 1
    single = plane(landscape, theta_P, right_P, up_P, 7)
    assert np.array(many.loss) == pytest.approx(np.array(single.loss), rel=1e-12)
    assert many.value == single.value


def test_models_with_convolutions_go_one_by_one() -> None:
    federation, task, theta_P = task_of(**{"model.name": "resnet20"})
    landscape = whole(federation, task)
    assert landscape.together == 1
    found = between(landscape, theta_P, near(theta_P, 1, 0.01), 4)
    assert len(set(found.loss)) == 4


def test_a_plane_in_bf16_tells_its_error() -> None:
    federation, task, theta_P = task_of()
    theta_P = theta_P.float()
    landscape = whole(federation, task)
    landscape.inputs_N = landscape.inputs_N.float()
    right_P, up_P = (random_direction(task.layout, theta_P, 0, n) for n in (0, 1))
    exact, narrow = (plane(landscape, theta_P, right_P, up_P, 5, 2.0, bf16=bf16) for bf16 in (False, True))
    assert exact.error is None
    assert narrow.error is not None
    off = np.abs(np.array(narrow.loss) - np.array(exact.loss)) / np.array(exact.loss)
    assert 0 < narrow.error <= off.max() < 0.02
    assert narrow.error == pytest.approx(off.flatten()[[0, 3, 6, 9, 12, 15, 18, 21, 24]].max())
