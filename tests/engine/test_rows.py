"""Blocks of clients: what optimisers and strategies make of rows, and that others run one by one.

Shapes: K clients, P parameters.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Strategy
from fedsam.config import find, names
from fedsam.data.augment.base import Augment
from fedsam.federated.round_loop import Simulation
from fedsam.optim.base import ClientOptimizer, norm
from fedsam.optim.sam import SAM
from fedsam.optim.sgd import SGD
from fedsam.params import Layout
from strategies.fedavg import FedAvg
from tests.support.discovered import OTHERS, SLOWEST
from tests.support.optimisers import in_a_run
from tests.support.ragged import Ragged
from tests.support.rounds import assert_same, ragged_run, trained

OPTIMIZER: Any = ClientOptimizer
STRATEGY: Any = Strategy


class OneForAll(SAM):
    """Right for one client; of a block it would divide by the norm of all rows together."""

    def perturbation(self, theta_P: Tensor, gradient_P: Tensor, layout: Layout) -> Tensor:
        return self.rho * gradient_P / torch.linalg.vector_norm(gradient_P)


class MeanOfAll(FedAvg):
    """Likewise."""

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        return gradient_P - gradient_P.mean()


def test_states_of_any_shape_are_kept_where_a_client_has_no_step() -> None:
    """Two rounds of ragged clients, some of which are done earlier than others."""
    found = []
    for engine in (SLOWEST, *OTHERS):
        client = {
            "name": f"{__name__}:Last",
            "batch_size": 4,
            "epochs": 2,
            "momentum": 0.9,
            "persistent": True,
        }
        simulation = Simulation(ragged_run(engine, client=client))
        for _ in range(2):
            simulation.advance()
        found.append(simulation.theta_P)
    for other in found[1:]:
        torch.testing.assert_close(found[0], other, rtol=1e-10, atol=1e-12)


class Last(SGD):
    """Along the mean of the last seven gradients, as many as there are clients."""

    def init(self, theta_P: Tensor) -> dict[str, Tensor]:
        return super().init(theta_P) | {"last": torch.stack([torch.zeros_like(theta_P)] * 7, dim=-2)}

    def descend(
        self, theta_P: Tensor, state: dict[str, Tensor], gradient_P: Tensor, lr: float | Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        last = torch.cat([state["last"][..., 1:, :], gradient_P[..., None, :]], dim=-2)
        theta_P, after = super().descend(theta_P, {"momentum": state["momentum"]}, last.mean(dim=-2), lr)
        return theta_P, after | {"last": last}


@pytest.mark.parametrize("engine", ["cohort", "auto"])
@pytest.mark.parametrize("changes", [{"client": OneForAll}, {"server": MeanOfAll}], ids=["client", "server"])
def test_what_is_wrong_with_rows_runs_one_by_one_and_the_run_says_so(changes: dict[str, Any], engine: str) -> None:
    keys: dict[str, Any] = {"client": {"name": "sgd"}, "server": {"name": "fedavg"}}
    keys |= {group: {"name": f"{__name__}:{cls.__name__}"} for group, cls in changes.items()}
    keys["client"] |= {"batch_size": 4, "epochs": 2}
    simulation = Simulation(ragged_run(engine, **keys))
    assert simulation.engine.name == "loop"
    assert "cannot be trained in blocks" in simulation.reason
    assert_same(trained(ragged_run("loop", **keys)), trained(ragged_run(engine, **keys)))


@pytest.mark.parametrize("client", names(OPTIMIZER))
@pytest.mark.parametrize("server", ["fedavg", "scaffold"])
def test_in_a_block_every_optimiser_does_what_it_does_alone(client: str, server: str) -> None:
    if server == "scaffold" and find(OPTIMIZER, client)().base_optimizer.name != "sgd":
        client = "sgd"
    parts = in_a_run(client, batch_size=4, epochs=2)
    keys = {**parts, "server": {"name": server}, "data": Ragged(size=8, channels=3)}
    assert_same(trained(ragged_run("loop", **keys)), trained(ragged_run("cohort", **keys)))


def test_norms_are_of_each_row() -> None:
    vectors_KP = torch.tensor([[3.0, 4.0], [5.0, 12.0]])
    assert norm(vectors_KP).tolist() == [[5.0], [13.0]]
    assert norm(vectors_KP[0]).tolist() == [5.0]


def test_an_augmentation_changes_something_if_it_overrides_something() -> None:
    kind: Any = Augment
    assert [name for name in names(kind) if not find(kind, name)().changes] == ["none"]
