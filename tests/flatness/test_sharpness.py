"""Worst losses, noise and flatness against closed forms and the optimisers' own perturbations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fedsam.flatness.landscape import Landscape
from fedsam.flatness.sharpness import flatness_distance, m_sharpness, noise, scale_squared, worst_in_ball
from fedsam.optim.asam import ASAM
from fedsam.optim.base import Perturbed
from fedsam.optim.sam import SAM
from fedsam.params import Layout
from fedsam.rng import stream
from tests.oracles.flatness import Quadratic, hessian_of, task_of, whole

ASCENTS = [SAM(), ASAM(), ASAM(eta=0.0), ASAM(scaling="all")]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def scale_of(theta_P: Tensor, ascent: Perturbed, layout: Layout) -> Tensor:
    """T_w, written out."""
    if isinstance(ascent, SAM):
        return torch.ones_like(theta_P)
    assert isinstance(ascent, ASAM)
    if ascent.scaling == "all":
        return theta_P.abs()
    sizes = [int(np.prod(shape)) for shape in layout.shapes]
    named = torch.cat([torch.full((n,), "weight" in name) for name, n in zip(layout.names, sizes, strict=True)])
    eta = 0.2 if ascent.eta is None else ascent.eta
    return torch.where(named, theta_P.abs() + eta, torch.ones_like(theta_P))


@pytest.mark.parametrize("ascent", ASCENTS, ids=repr)
def test_the_ball_is_read_off_the_optimisers_own_perturbation(ascent: Perturbed) -> None:
    _, task, theta_P = task_of()
    theta_P[3] = 0.0
    expected = scale_of(theta_P, ascent, task.layout).square()
    assert torch.allclose(scale_squared(theta_P, ascent, task.layout), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("ascent", ASCENTS, ids=repr)
def test_one_step_is_the_optimisers_own_point(ascent: Perturbed) -> None:
    federation, task, theta_P = task_of()
    landscape = whole(federation, task)
    epsilon_P = ascent.replace(rho=0.3).perturbation(theta_P, landscape.gradient(theta_P), task.layout)
    found = worst_in_ball(landscape, theta_P, ascent, 0.3, steps=1)
    assert torch.equal(found.epsilon_P, epsilon_P)
    assert found.loss == landscape.loss(theta_P + epsilon_P)
    assert found.sharpness == pytest.approx(found.loss - landscape.loss(theta_P), rel=1e-12)
    assert found.sharpness > 0


@pytest.mark.parametrize("ascent", ASCENTS, ids=repr)
def test_more_steps_find_more_inside_the_ball(ascent: Perturbed) -> None:
    federation, task, theta_P = task_of()
    landscape = whole(federation, task)
    scale = scale_of(theta_P, ascent, task.layout)
    one, many = (worst_in_ball(landscape, theta_P, ascent, 1.5, steps) for steps in (1, 12))
    assert many.sharpness > 1.0001 * one.sharpness
    for found in (one, many):
        assert float((found.epsilon_P / scale).norm()) == pytest.approx(1.5, rel=1e-9)
    assert many.loss == pytest.approx(landscape.loss(theta_P + many.epsilon_P), rel=1e-12)


@pytest.mark.parametrize(("ascent", "scaled"), [(SAM(), False), (ASAM(scaling="all"), True)])
def test_many_steps_find_the_worst_of_a_quadratic(ascent: Perturbed, scaled: bool) -> None:
    """½ εᵀ A ε + gᵀ ε is largest, in the ball, where (λ − T A T) δ = T g with ‖δ‖ = ρ: solved by bisection."""
    _, task, theta_P = task_of()
    rng = np.random.default_rng(4)
    size, rho = len(theta_P), 0.7
    root = rng.normal(size=(size, size)) / np.sqrt(size)
    a_PP = torch.from_numpy(root @ root.T)
    landscape = Quadratic(task, a_PP, theta_P + 0.3 * torch.from_numpy(rng.normal(size=size)))
    scale = theta_P.abs() if scaled else torch.ones_like(theta_P)
    inner = scale[:, None] * a_PP * scale
    pull = scale * landscape.gradient(theta_P)
    values, basis = torch.linalg.eigh(inner)
    part = basis.T @ pull
    low, high = float(values[-1]), float(values[-1] + part.norm() / rho)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if float((part / (middle - values)).norm()) > rho else (low, middle)
    delta = basis @ (part / (high - values))
    worst = float(0.5 * delta @ inner @ delta + pull @ delta)
    found = worst_in_ball(landscape, theta_P, ascent, rho, 200)
    assert found.sharpness == pytest.approx(worst, rel=1e-3)
    assert found.sharpness <= worst * (1 + 1e-9)


def test_asam_is_blind_to_layers_that_are_scaled_against_each_other() -> None:
    federation, task, theta_P = task_of()
    landscape, views = whole(federation, task), task.layout.views(theta_P)
    factor = {"fc1.weight": 3.0, "fc1.bias": 3.0, "out.weight": 1 / 3.0, "out.bias": 1.0}
    other_P = task.layout.flatten({name: views[name] * factor[name] for name in task.layout.names})
    assert landscape.loss(other_P) == pytest.approx(landscape.loss(theta_P), rel=1e-12)
    for steps in (1, 6):
        blind = [worst_in_ball(landscape, at, ASAM(scaling="all"), 0.5, steps).sharpness for at in (theta_P, other_P)]
        assert blind[0] == pytest.approx(blind[1], rel=1e-9)
        for ascent in (SAM(), ASAM()):
            seen = [worst_in_ball(landscape, at, ascent, 0.5, steps).sharpness for at in (theta_P, other_P)]
            assert seen[0] != pytest.approx(seen[1], rel=0.05)


def test_no_radius_is_no_sharpness() -> None:
    federation, task, theta_P = task_of()
    landscape = whole(federation, task)
    found = worst_in_ball(landscape, theta_P, SAM(), 0.0)
    assert (found.loss, found.sharpness) == (landscape.loss(theta_P), 0.0)
    assert float(found.epsilon_P.norm()) == 0


def test_m_sharpness_is_the_mean_over_keyed_batches() -> None:
    federation, task, theta_P = task_of()
    landscape = whole(federation, task)
    order = stream(3, "m-sharpness").permutation(44)
    expected = 0.0
    for begin, end in ((0, 16), (16, 32), (32, 44)):
        part = landscape.part(order[begin:end])
        epsilon_P = SAM(rho=0.2).perturbation(theta_P, part.gradient(theta_P), task.layout)
        expected += (end - begin) / 44 * (part.loss(theta_P + epsilon_P) - part.loss(theta_P))
    landscape.evaluations = 0.0
    found = m_sharpness(landscape, theta_P, SAM(), 0.2, 16, seed=3)
    assert found == pytest.approx(expected, rel=1e-9)
    assert landscape.evaluations == pytest.approx(1.0)
    assert m_sharpness(landscape, theta_P, SAM(), 0.2, 16, seed=4) != found
    alone = worst_in_ball(landscape, theta_P, SAM(), 0.2, 1).sharpness
    assert m_sharpness(landscape, theta_P, SAM(), 0.2, 44) == pytest.approx(alone, rel=1e-9)
    assert found > alone


@pytest.mark.parametrize("relative", [False, True])
def test_noise_at_the_minimum_of_a_quadratic(relative: bool) -> None:
    """E = σ² / 2 · Σ s² a, Var = σ⁴ / 2 · ‖S A S‖²_F with S the scale of the noise."""
    _, task, theta_P = task_of()
    rng = np.random.default_rng(5)
    root = rng.normal(size=(len(theta_P),) * 2) / 10
    a_PP = torch.from_numpy(root @ root.T)
    landscape = Quadratic(task, a_PP, theta_P)
    scale = theta_P.abs() if relative else torch.ones_like(theta_P)
    inner = scale[:, None] * a_PP * scale
    sigma, draws = 0.07, 400
    mean, std = sigma**2 / 2 * float(inner.trace()), sigma**2 * float(inner.square().sum() / 2) ** 0.5
    found = noise(landscape, theta_P, sigma, draws, relative, seed=2)
    assert abs(found.loss - mean) < 4 * std / draws**0.5
    assert found.loss_std == pytest.approx(std, rel=0.2)
    assert (found.value, found.value_std) == (0.25, 0.0)
    assert (
        noise(landscape, theta_P, sigma, 3, relative, seed=3).loss != noise(landscape, theta_P, sigma, 3, relative).loss
    )
    assert noise(landscape, theta_P, sigma, 1, relative).loss_std == 0.0


def test_noise_of_a_network_follows_its_trace_and_moves_its_accuracy() -> None:
    federation, task, theta_P = task_of()
    landscape = whole(federation, task)
    small = noise(landscape, theta_P, 1e-3, 2000)
    rise = 0.5e-6 * float(hessian_of(federation, task, theta_P).trace())
    gradient = float(landscape.gradient(theta_P).norm())
    assert small.loss_std == pytest.approx(1e-3 * gradient, rel=0.1)
    assert abs(small.loss - landscape.loss(theta_P) - rise) < 4 * small.loss_std / 2000**0.5
    assert noise(landscape, theta_P, 1.0, 20).value_std > 0


def test_flatness_distance_against_its_formulas() -> None:
    federation, task, theta_P = task_of()
    landscape = whole(federation, task)
    rng = torch.Generator().manual_seed(11)
    thetas = [theta_P + 0.1 * torch.randn(theta_P.shape, generator=rng, dtype=torch.float64) for _ in range(2)]
    own = [landscape.part(range(0, 22)), landscape.part(range(22, 44))]
    rho = 0.4
    found = flatness_distance(landscape, theta_P, thetas, own, SAM(), rho)

    def point(on: Landscape, at_P: Tensor) -> Tensor:
        gradient = on.gradient(at_P)
        return at_P + rho * gradient / gradient.norm()

    centre = point(landscape, theta_P)
    assert found.global_sharpness == pytest.approx(landscape.loss(centre) - landscape.loss(theta_P), rel=1e-9)
    for row, client_P, on in zip(found.clients, thetas, own, strict=True):
        assert row.distance == pytest.approx(float((client_P - theta_P).norm()), rel=1e-12)
        assert row.perturbed_distance == pytest.approx(float((point(on, client_P) - centre).norm()), rel=1e-9)
        assert row.sharpness_own == pytest.approx(on.loss(point(on, client_P)) - on.loss(client_P), rel=1e-9)
        everywhere = landscape.loss(point(landscape, client_P)) - landscape.loss(client_P)
        assert row.sharpness_global == pytest.approx(everywhere, rel=1e-9)
        assert row.sharpness_own != pytest.approx(row.sharpness_global, rel=1e-3)
    same = flatness_distance(landscape, theta_P, [theta_P], [landscape], SAM(), rho).clients[0]
    assert (same.distance, same.perturbed_distance) == (0.0, pytest.approx(0.0, abs=1e-12))
