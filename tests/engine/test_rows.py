"""Blocks of clients as they stand: which optimisers and strategies take rows, and that the others are left to vmap.

Shapes: K clients, P parameters.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Strategy
from fedsam.config import find, names
from fedsam.data.augment.base import Augment
from fedsam.engine.train_client import _Gradient
from fedsam.federated.round_loop import Simulation
from fedsam.optim.asam import ASAM
from fedsam.optim.base import ClientOptimizer, norm
from fedsam.optim.late import Late
from fedsam.optim.lookbehind import Lookbehind
from fedsam.optim.sam import SAM
from fedsam.optim.sgd import SGD
from fedsam.params import Layout
from strategies.fedavg import FedAvg
from strategies.fedlesam import LESAM
from strategies.scaffold import Scaffold
from tests.conftest import Ragged
from tests.engine.test_engines import assert_same, ragged_run, trained

OPTIMIZER: Any = ClientOptimizer
STRATEGY: Any = Strategy


class OneForAll(SAM):
    """Right for one client; of a block it would divide by the norm of all rows together."""

    def perturbation(self, theta_P: Tensor, gradient_P: Tensor, layout: Layout) -> Tensor:
        return self.rho * gradient_P / torch.linalg.vector_norm(gradient_P)


class Inside:
    def perturbation(self, theta_P: Tensor, gradient_P: Tensor, layout: Layout) -> Tensor:
        return gradient_P / gradient_P.norm()


class Mixed(Inside, SAM):
    rowwise = True


class Told(ASAM):
    rowwise = True


class MeanOfAll(FedAvg):
    """Likewise."""

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        return gradient_P - gradient_P.mean()


class OnServer(FedAvg):
    """Has no half of a client's."""

    def absorb(self, gathered: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return state


class Scaled(FedAvg):
    rowwise = True

    def length(self, gradient_P: Tensor) -> Tensor:
        return norm(gradient_P)

    def descent(self, gradient_P: Tensor, theta_P: Tensor, client: ClientContext) -> Tensor:
        return gradient_P / (1 + self.length(gradient_P))

    def absorb(self, gathered: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return state


class Largest(Scaled):
    """Defines no hook, but what one is made of."""

    def length(self, gradient_P: Tensor) -> Tensor:
        return gradient_P.abs().max()


class OtherServer(Scaled):
    """Defines what `Scaled` does, but of the server's half."""

    def absorb(self, gathered: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return dict(state)


class BothSaid(LESAM, Scaffold):
    rowwise = True

    def finish(self, theta_P: Tensor, client: ClientContext) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return {}, {}


def test_all_but_adversarial_training_take_rows() -> None:
    assert [name for name in names(OPTIMIZER) if not find(OPTIMIZER, name)().takes_rows()] == ["adversarial"]
    assert all(find(STRATEGY, name).takes_rows() for name in names(STRATEGY))


@pytest.mark.parametrize(
    ("client", "takes"),
    [
        (SGD(), True),
        (Lookbehind(ascent=ASAM()), True),
        (Told(), True),
        (OneForAll(), False),
        (Mixed(), False),
        (Lookbehind(ascent=OneForAll()), False),
        (Late(ascent="adversarial"), False),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_each_class_says_so_of_itself(client: ClientOptimizer, takes: bool) -> None:
    assert client.takes_rows() is takes


@pytest.mark.parametrize(
    ("server", "takes"),
    [
        *[(FedAvg, True), (OnServer, True), (BothSaid, True), (MeanOfAll, False)],
        *[(Scaled, True), (Largest, False), (OtherServer, True)],
    ],
)
def test_each_strategy_with_a_half_of_the_clients_says_so_of_itself(server: type[FedAvg], takes: bool) -> None:
    assert server.takes_rows() is takes


@pytest.mark.parametrize("hook", ["begin", "point", "ascent", "ascended", "descent", "rate", "finish"])
def test_any_hook_has_to_be_said(hook: str) -> None:
    assert type("Quiet", (FedAvg,), {hook: getattr(FedAvg, hook)}).takes_rows() is False
    assert type("Said", (FedAvg,), {hook: getattr(FedAvg, hook), "rowwise": True}).takes_rows() is True


def test_states_of_any_shape_are_kept_where_a_client_has_no_step() -> None:
    """Two rounds of ragged clients, some of which are done earlier than others."""
    found = []
    for engine in ("loop", "cohort"):
        client = {
            "name": "tests.engine.test_rows:Last",
            "batch_size": 4,
            "epochs": 2,
            "momentum": 0.9,
            "persistent": True,
        }
        simulation = Simulation(ragged_run(engine, client=client))
        for _ in range(2):
            simulation.advance()
        found.append(simulation.theta_P)
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)


class Last(SGD):
    """Along the mean of the last seven gradients, as many as there are clients."""

    rowwise = True

    def init(self, theta_P: Tensor) -> dict[str, Tensor]:
        return super().init(theta_P) | {"last": torch.stack([torch.zeros_like(theta_P)] * 7, dim=-2)}

    def descend(
        self, theta_P: Tensor, state: dict[str, Tensor], gradient_P: Tensor, lr: float | Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        last = torch.cat([state["last"][..., 1:, :], gradient_P[..., None, :]], dim=-2)
        theta_P, after = super().descend(theta_P, {"momentum": state["momentum"]}, last.mean(dim=-2), lr)
        return theta_P, after | {"last": last}


@pytest.mark.parametrize("changes", [{"client": OneForAll}, {"server": MeanOfAll}], ids=["client", "server"])
def test_what_does_not_take_rows_is_as_right_in_blocks(changes: dict[str, Any]) -> None:
    keys: dict[str, Any] = {"client": {"name": "sgd"}, "server": {"name": "fedavg"}}
    keys |= {group: {"name": f"tests.engine.test_rows:{cls.__name__}"} for group, cls in changes.items()}
    keys["client"] |= {"batch_size": 4, "epochs": 2}
    assert not Simulation(ragged_run("cohort", **keys)).context.takes_rows
    assert_same(trained(ragged_run("loop", **keys)), trained(ragged_run("cohort", **keys)))


@pytest.mark.parametrize("client", ["sgd", "asam", "lookbehind"])
@pytest.mark.parametrize("augment", ["none", "crop_flip", "smoothing", "mixup"])
@pytest.mark.parametrize("some", [None, [6]], ids=["masked", "whole"])
def test_rows_have_the_bits_of_vmap(
    client: str, augment: str, some: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = {"name": client, "batch_size": 4, "epochs": 2, "momentum": 0.9, "weight_decay": 0.01}
    run = ragged_run("cohort", precision="fp32", client=local, data=Ragged(augment=augment, size=20, channels=3))
    rows = trained(run, some)
    monkeypatch.setattr(ClientOptimizer, "takes_rows", lambda self: False)
    under = trained(run, some)
    assert len(rows[0]) == len(some or range(7))
    assert all(torch.equal(delta_P, under[0][k]) for k, delta_P in rows[0].items())
    assert rows[1] == under[1]


def test_norms_are_of_each_row() -> None:
    vectors_KP = torch.tensor([[3.0, 4.0], [5.0, 12.0]])
    assert norm(vectors_KP).tolist() == [[5.0], [13.0]]
    assert norm(vectors_KP[0]).tolist() == [5.0]


def test_an_augmentation_changes_something_if_it_overrides_something() -> None:
    kind: Any = Augment
    assert [name for name in names(kind) if not find(kind, name)().changes] == ["none"]


@pytest.mark.parametrize("at", [0, 1])
def test_a_gradient_under_vmap_takes_clients_along_any_dimension(at: int) -> None:
    """Also the part of them that is the same for all."""
    simulation = Simulation(ragged_run("cohort"))
    context = simulation.context
    theta_KP = torch.stack([simulation.theta_P, 2 * simulation.theta_P])
    images = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    targets = torch.tensor([0, 1, 2])

    def gradient(theta_P: Tensor) -> Tensor:
        found: Tensor = _Gradient.apply(context, 0, theta_P, images, targets, 3.0, None)[0]
        return found

    apart = torch.stack([gradient(theta_P) for theta_P in theta_KP])
    given = theta_KP if at == 0 else theta_KP.T.contiguous()
    torch.testing.assert_close(vmap(gradient, in_dims=at)(given), apart, rtol=1e-12, atol=1e-14)
