"""Eigenvalues, trace and density against the whole Hessian."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedsam import Run, RunError
from fedsam.federated.round_loop import Simulation
from fedsam.flatness import spectrum
from fedsam.flatness.draws import normal, signs
from fedsam.flatness.landscape import Landscape, examples_of
from fedsam.flatness.measure import measure
from fedsam.flatness.spectrum import TINY, dense, density, hutchinson, top_eigenvalues, trace
from fedsam.params import theta_of
from tests.oracles.flatness import Quadratic, hessian_of, task_of, whole


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def quadratic(values: list[float]) -> tuple[Quadratic, Tensor]:
    """A landscape whose Hessian has these eigenvalues, in random directions."""
    _, context, _ = task_of()
    rng = np.random.default_rng(3)
    basis, _ = np.linalg.qr(rng.normal(size=(len(values), len(values))))
    hessian = torch.from_numpy(basis @ np.diag(values) @ basis.T)
    return Quadratic(context, hessian, torch.from_numpy(rng.normal(size=len(values)))), torch.zeros(
        len(values)
    ).double()


def test_eigenvalues_of_a_trained_digits_network_are_those_of_its_whole_hessian() -> None:
    keys = {"model.width": 12, "engine.precision": "fp64", "engine.device": "cpu", "engine.name": "loop"}
    simulation = Simulation(Run.from_keys({**keys, "client.epochs": 1, "cohort": 2}))
    for _ in range(3):
        simulation.advance()
    context, theta_P = simulation.context, simulation.theta_P
    assert 800 < len(theta_P) < 1200
    split = examples_of(simulation.federation, 0, 60)
    landscape = Landscape(context, split.inputs, split.targets)
    hessian = dense(landscape, theta_P)
    values = np.linalg.eigvalsh(hessian.numpy())[::-1]
    for tolerance in (1e-2, 1e-3, 1e-6):
        assert top_eigenvalues(landscape, theta_P, 5, tolerance).values == pytest.approx(values[:5], rel=tolerance)
    found = top_eigenvalues(landscape, theta_P, 5, 1e-13)
    assert found.values == pytest.approx(values[:5].tolist(), rel=1e-12)
    assert found.ratio == pytest.approx(values[0] / values[4], rel=1e-6)
    errors = hessian @ found.vectors_PK - found.vectors_PK * torch.tensor(found.values, dtype=torch.float64)
    assert max(found.residuals) < 1e-6 * values[0]
    assert found.residuals == pytest.approx(torch.linalg.vector_norm(errors, dim=0).tolist(), abs=1e-12)
    rough = top_eigenvalues(landscape, theta_P, 5, 0.1)
    assert max(rough.residuals) > 10 * max(found.residuals)
    assert top_eigenvalues(landscape, theta_P, 2, 1e-9).ratio is None
    for tolerance in (1e-9, 1e-2):  # of one alone, too, which has no other beside it to begin with
        assert top_eigenvalues(landscape, theta_P, 1, tolerance).values == pytest.approx(values[:1], rel=tolerance)


def test_the_whole_hessian_is_that_made_row_by_row() -> None:
    federation, context, theta_P = task_of()
    expected = hessian_of(federation, context, theta_P)
    landscape = whole(federation, context)
    assert torch.allclose(dense(landscape, theta_P), expected, rtol=0, atol=1e-12)
    assert trace(landscape, theta_P, len(theta_P)) == (pytest.approx(float(expected.trace()), rel=1e-9), 0.0)


@pytest.mark.parametrize("size", [3, TINY, TINY + 40])
def test_eigenvalues_of_a_quadratic_of_any_size(size: int) -> None:
    values = [*np.linspace(-30.0, 7.0, size - 2), 9.0, 12.5]  # the largest in magnitude are negative
    landscape, theta_P = quadratic(values)
    found = top_eigenvalues(landscape, theta_P, 5, 1e-10)
    assert found.values == pytest.approx(sorted(values)[::-1][:5], rel=1e-8)
    assert len(found.values) == len(found.residuals) == found.vectors_PK.shape[1] == min(5, size)


@pytest.mark.parametrize("most", [20, 120])
@pytest.mark.parametrize(
    "cluster", [[8.0, 7.99, 7.98, 7.0, 6.99], [8.0, 7.999, 7.99, 3.0, 2.99], [8.0, 0.02, 0.01, 1e-3, -0.02]]
)
def test_eigenvalues_that_are_close(cluster: list[float], most: int, monkeypatch: Any) -> None:
    """Also where the basis has room for few vectors, and is begun again and again."""
    monkeypatch.setattr(spectrum, "MOST", most)
    low = cluster[-1]
    landscape, theta_P = quadratic([*np.linspace(low - 5.0, low - 0.5, TINY + 100), *cluster])
    for tolerance in (1e-3, 1e-8):
        found = top_eigenvalues(landscape, theta_P, 5, tolerance)
        assert found.values == pytest.approx(cluster, rel=tolerance, abs=1e-12)


def test_a_gradient_is_recorded_once_for_all_products_where_there_is_room(monkeypatch: Any) -> None:
    federation, context, theta_P = task_of()
    landscape, made = whole(federation, context), 0
    recorded = Landscape._gradient_recorded

    def counted(*given: Any) -> Any:
        nonlocal made
        made += 1
        return recorded(*given)

    monkeypatch.setattr(Landscape, "_gradient_recorded", counted)
    batches = -(-landscape.examples // landscape.batch)
    vectors_PK = torch.eye(len(theta_P), 3).double()
    expected = landscape.hvp(theta_P, vectors_PK)
    assert made == batches
    for room, times in ((0, 3), (2**30, 1)):
        made, product = 0, landscape.hessian(theta_P, room)
        assert all(torch.equal(product(vectors_PK), expected) for _ in range(3))
        assert made == times * batches


def test_there_is_no_ratio_to_an_eigenvalue_that_is_not_positive() -> None:
    landscape, theta_P = quadratic([5.0, 4.0, 3.0, 2.0, -1.0, -2.0])
    assert top_eigenvalues(landscape, theta_P).ratio is None
    landscape, theta_P = quadratic([5.0, 4.0, 3.0, 2.0, 0.5, -2.0])
    assert top_eigenvalues(landscape, theta_P).ratio == pytest.approx(10.0)


def test_a_model_that_is_not_finite_is_refused() -> None:
    federation, context, theta_P = task_of()
    with pytest.raises(RunError, match="not finite"):
        top_eigenvalues(whole(federation, context), theta_P * torch.nan)


def test_trace_estimates_and_their_errors() -> None:
    values = [50.0, 20.0, 10.0, *np.linspace(-1.0, 2.0, 80)]
    landscape, theta_P = quadratic(values)
    exact = sum(values)
    plain = [hutchinson(landscape, theta_P, 30, seed) for seed in range(30)]
    better = [trace(landscape, theta_P, 30, seed) for seed in range(30)]
    for found in (plain, better):
        z = np.array([(estimate - exact) / error for estimate, error in found])
        assert abs(z.mean()) < 1.0
        assert 0.5 < np.sqrt((z**2).mean()) < 2.0
    spread = [float(np.std([estimate for estimate, _ in found])) for found in (plain, better)]
    assert spread[1] < 0.5 * spread[0]
    assert len({estimate for estimate, _ in better}) == 30
    assert trace(landscape, theta_P, 30, 4) == better[4]


def test_the_trace_of_a_low_rank_hessian_is_exact() -> None:
    landscape, theta_P = quadratic([7.0, 3.0, 1.0] + [0.0] * 70)
    assert trace(landscape, theta_P, 12) == (pytest.approx(11.0, rel=1e-9), pytest.approx(0.0, abs=1e-9))
    assert hutchinson(landscape, theta_P, 1)[1] == math.inf


def moments(found: Any) -> tuple[float, float, float]:
    grid, values = np.array(found.grid), np.array(found.density)
    return tuple(float(np.trapezoid(grid**power * values, grid)) for power in (0, 1, 2))  # type: ignore[return-value]


def test_density_has_the_moments_of_its_probes() -> None:
    federation, context, theta_P = task_of()
    landscape = whole(federation, context)
    hessian = hessian_of(federation, context, theta_P)
    found = density(landscape, theta_P, steps=12, probes=4, seed=9)
    mass, mean, square = moments(found)
    probes = [signs(theta_P, 9, "density", n) for n in range(4)]
    size = len(theta_P)
    expected = np.mean([float(v @ hessian @ v) / size for v in probes])
    assert mass == pytest.approx(1.0, abs=1e-5)
    assert mean == pytest.approx(expected, rel=1e-4)
    squares = [float((hessian @ v).square().sum()) / size for v in probes]
    assert square - found.width**2 == pytest.approx(np.mean(squares), rel=1e-4)
    many = density(landscape, theta_P, steps=6, probes=60)
    spread = float((hessian - torch.diag(hessian.diagonal())).square().sum() * 2) ** 0.5 / size / 60**0.5
    assert abs(moments(many)[1] - float(hessian.trace()) / size) < 4 * spread


def test_density_shows_where_the_eigenvalues_are() -> None:
    landscape, theta_P = quadratic([0.0] * 60 + [10.0] * 20)
    found = density(landscape, theta_P, steps=30, probes=20)
    assert found.width == pytest.approx(0.1, rel=1e-6)
    grid, values = np.array(found.grid), np.array(found.density)
    near = np.abs(grid - 10.0) < 1
    assert np.trapezoid(values[near], grid[near]) == pytest.approx(0.25, abs=0.05)
    assert (grid[0], grid[-1]) == (pytest.approx(-0.5, abs=1e-6), pytest.approx(10.5, abs=1e-6))
    assert values.max() == pytest.approx(0.75 / (np.sqrt(2 * np.pi) * 0.1), rel=0.1)


def test_density_of_a_constant_spectrum_ends_after_one_step() -> None:
    landscape, theta_P = quadratic([3.0] * 70)
    found = density(landscape, theta_P, steps=20, probes=2)
    assert landscape.evaluations == 2 * 2
    assert moments(found)[:2] == (pytest.approx(1.0, abs=1e-5), pytest.approx(3.0, rel=1e-5))


def test_a_hessian_of_zeros_and_one_that_is_almost_constant() -> None:
    landscape, theta_P = quadratic([0.0] * (TINY + 40))
    found = top_eigenvalues(landscape, theta_P, 5)
    assert (found.values, found.residuals, found.ratio) == ([0.0] * 5, [0.0] * 5, None)
    assert torch.allclose(found.vectors_PK.T @ found.vectors_PK, torch.eye(5).double(), rtol=0, atol=1e-12)
    assert moments(density(landscape, theta_P))[0] == pytest.approx(1.0, abs=1e-5)
    landscape, theta_P = quadratic([-3.0] * (TINY + 40))
    assert top_eigenvalues(landscape, theta_P, 5).values == pytest.approx([-3.0] * 5)
    found_density = density(landscape, theta_P)
    assert found_density.width == pytest.approx(3e-4)
    assert moments(found_density)[:2] == (pytest.approx(1.0, abs=1e-5), pytest.approx(-3.0))


def test_eigenvalues_that_do_not_converge_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "PRODUCTS", 40)
    landscape, theta_P = quadratic(np.linspace(-1.0, 1.0, TINY + 200).tolist())
    with pytest.raises(RunError, match="raise the tolerance") as raised:
        top_eigenvalues(landscape, theta_P, 5, 1e-12)
    assert "\n" not in str(raised.value)


def test_measure_is_plain_and_counts_its_cost() -> None:
    federation, context, theta_P = task_of()
    landscape = whole(federation, context)
    hessian = hessian_of(federation, context, theta_P)
    found = measure(landscape, theta_P, top=5, trace_vectors=30, seed=2, tolerance=1e-9)
    assert found["eigenvalues"] == pytest.approx(np.linalg.eigvalsh(hessian.numpy())[::-1][:5].tolist(), rel=1e-6)
    assert found["gradient_norm"] == pytest.approx(float(landscape.gradient(theta_P).norm()), rel=1e-12)
    assert found["loss"] == pytest.approx(landscape.loss(theta_P), rel=1e-12)
    assert abs(found["trace"] - float(hessian.trace())) < 4 * found["trace_error"]
    assert (found["images"], found["tolerance"]) == (44, 1e-9)
    assert found["evaluations"] == landscape.evaluations - 1
    assert {type(value) for value in found.values()} == {float, int, list}
    without = measure(landscape, theta_P, top=1, trace_vectors=0)
    assert (without["trace"], without["trace_error"], without["ratio"]) == (None, None, None)
    assert without["evaluations"] < found["evaluations"]


def test_draws_are_keyed_and_touch_no_global_generator() -> None:
    like = theta_of(task_of()[1].module)
    before = torch.get_rng_state()
    assert torch.equal(normal(like, 1, "a"), normal(like, 1, "a"))
    different = [normal(like, 1, "a"), normal(like, 2, "a"), normal(like, 1, "b"), normal(like, 1, "a", 1)]
    assert len({float(one[0]) for one in different}) == 4
    assert set(signs(like, 1, "a").tolist()) == {-1.0, 1.0}
    assert torch.equal(torch.get_rng_state(), before)
