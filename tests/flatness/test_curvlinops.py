"""The Hessian's products, trace and eigenvalues against curvlinops, which makes them in another way."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedsam import Run
from fedsam.federated.round_loop import Simulation
from fedsam.flatness.landscape import Landscape, examples_of
from fedsam.flatness.spectrum import top_eigenvalues, trace

curvlinops = pytest.importorskip("curvlinops", exc_type=ImportError)

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:FutureWarning")  # one of its own dependencies


@pytest.fixture(scope="module")
def both() -> tuple[Simulation, Landscape, Any]:
    """A run after some rounds, its landscape, and curvlinops' operator on the same loss."""
    keys = {"model.width": 8, "engine.precision": "fp64", "engine.threads": 1, "engine.name": "loop"}
    simulation = Simulation(Run.from_keys(keys))
    for _ in range(10):
        simulation.advance()
    context, module = simulation.context, simulation.context.module
    split = examples_of(simulation.federation, 0, 300)
    landscape = Landscape(context, split.inputs, split.targets, batch=128)
    with torch.no_grad():
        for parameter, value in zip(
            module.parameters(), context.layout.views(simulation.theta_P).values(), strict=True
        ):
            parameter.copy_(value)
    inputs, labels = context.prepare(torch.from_numpy(split.inputs)), torch.from_numpy(split.targets)
    data = [(inputs[:200], labels[:200]), (inputs[200:], labels[200:])]
    with warnings.catch_warnings():  # as below, where a fixture is not marked
        warnings.simplefilter("ignore")
        operator = curvlinops.HessianLinearOperator(
            module, nn.CrossEntropyLoss(), list(module.parameters()), data, check_deterministic=False
        )
    return simulation, landscape, operator


def test_products_with_vectors(both: tuple[Simulation, Landscape, Any]) -> None:
    simulation, landscape, operator = both
    vectors_PK = torch.randn(landscape.context.layout.total, 3, generator=torch.Generator().manual_seed(1)).double()
    found_PK = landscape.hvp(simulation.theta_P, vectors_PK)
    torch.testing.assert_close(found_PK, operator @ vectors_PK, rtol=1e-9, atol=1e-11)


def test_eigenvalues_and_trace(both: tuple[Simulation, Landscape, Any]) -> None:
    simulation, landscape, operator = both
    dense = (operator @ torch.eye(landscape.context.layout.total).double()).numpy()
    found = top_eigenvalues(landscape, simulation.theta_P, 5, 1e-9)
    assert found.values == pytest.approx(np.linalg.eigvalsh(dense)[::-1][:5], rel=1e-8)
    estimate, error = trace(landscape, simulation.theta_P, 90)
    assert abs(estimate - np.trace(dense)) <= 4 * error
    assert error < 0.2 * np.trace(dense)
