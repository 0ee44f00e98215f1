"""Every algorithm against a slow transcription of its paper: three rounds in float64, on clients of unequal size with
unequal weights, two of three or more taking part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fedsam import InputError, Run
from fedsam.algorithm.client_hooks import ClientContext
from fedsam.algorithm.strategy import Average, Strategy
from fedsam.config import names
from fedsam.engine.train_client import BatchOracle, Step
from fedsam.federated.round_loop import Simulation
from fedsam.schedule.base import Clock
from tests.oracles import (
    averages,
    federated,
)
from tests.support.algorithms import CASES, DECAY, LR, ROUNDS, SAM, described
from tests.support.discovered import ENGINES
from tests.support.unruly import Refusing


class Problem:
    """A run's own clients, mini-batches and sampling, as the oracles want them; nothing of its algorithm."""

    def __init__(self, run: Run) -> None:
        plain = run.replace(server={"name": "fedavg"}, client={"name": "sgd", **local_keys(run)})
        self.simulation = Simulation(plain)
        self.theta = self.simulation.theta_P.clone()
        self.clients = self.simulation.federation.clients
        self.lr = LR

    def _order(self, round: int) -> Any:
        self.simulation.done = round
        return self.simulation.order(self.simulation.clock(), LR)

    def cohort(self, round: int) -> list[int]:
        return list(self._order(round).ids)

    def examples(self, client: int) -> int:
        return int(self.simulation.federation.sizes([client])[0])

    def batches(self, round: int, client: int) -> list[Callable[[Tensor], Tensor]]:
        order = self._order(round)
        context = self.simulation.context
        store, (plan,) = context.plan(self.simulation.federation, order.part([order.ids.index(client)]))
        placed = context.store(store)
        client = ClientContext(self.theta, {}, {}, 1.0, LR, context.optimizer, Clock(0, 1))
        found = []
        for t, count in enumerate(plan.count_T.tolist()):
            step = Step(torch.from_numpy(plan.index_TB[t, :count]), float(count))
            found.append(BatchOracle(context, placed, step, t, client))
        return list(found)

    def loss(self, client: int) -> Callable[[Tensor], float]:
        context = self.simulation.context
        store, (own,) = self.simulation.federation.examples([client])
        placed, step = context.store(store), Step(torch.from_numpy(own), float(len(own)))
        clients = ClientContext(self.theta, {}, {}, 1.0, LR, context.optimizer, Clock(0, 1))

        def value(theta_P: Tensor) -> float:
            oracle = BatchOracle(context, placed, step, 0, clients)
            oracle(theta_P)
            return float(oracle.loss)

        return value


def local_keys(run: Run) -> dict[str, Any]:
    return {name: getattr(run.client.base_optimizer, name) for name in ("lr", "batch_size", "epochs", "weight_decay")}


def models(run: Run, rounds: int = ROUNDS) -> list[Tensor]:
    simulation = Simulation(run)
    found = []
    for _ in range(rounds):
        simulation.advance()
        found.append(simulation.theta_P.clone())
    return found


def far(one: list[Tensor], other: list[Tensor], start_P: Tensor) -> float:
    """The largest distance over the rounds, relative to how far the models have moved."""
    assert len(one) == len(other)
    return max(float((a - b).norm() / (b - start_P).norm()) for a, b in zip(one, other, strict=True))


def test_every_strategy_has_a_case() -> None:
    assert {case.split()[0] for case in CASES} == set(names(Strategy))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_algorithm_is_that_of_its_paper(case: str, engine: str) -> None:
    keys, client, oracle, arguments = CASES[case]
    run = described(case, keys, client, engine)
    problem = Problem(run)
    expected = oracle(problem, ROUNDS, LR, weight_decay=DECAY, **arguments)
    assert far(models(run), expected, problem.theta) <= 1e-10
    assert len({tuple(problem.cohort(round)) for round in range(ROUNDS)}) > 1


class Delivering(Problem):
    """The same where clients 2 and 5 deliver nothing."""

    def cohort(self, round: int) -> list[int]:
        return [client for client in super().cohort(round) if client not in (2, 5)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_algorithm_is_that_of_its_paper_among_the_clients_that_delivered(case: str, engine: str) -> None:
    keys, client, oracle, arguments = CASES[case]
    run = described(case, keys, client, engine)
    problem = Delivering(run)
    expected = oracle(problem, ROUNDS, LR, weight_decay=DECAY, **arguments)
    failing = {"data": Refusing(), "engine": {**run.engine.keys(), "name": engine, "on_client_error": "skip"}}
    assert far(models(run.replace(**failing)), expected, problem.theta) <= 1e-10
    left_out = [set(Problem.cohort(problem, round)) - set(problem.cohort(round)) for round in range(ROUNDS)]
    assert any(left_out)


@pytest.mark.parametrize("case", CASES)
def test_the_oracle_tells_the_algorithm_from_fedavg(case: str) -> None:
    """Or the agreement above would say nothing."""
    if case == "fedavg":
        return
    keys, client, oracle, arguments = CASES[case]
    problem = Problem(described(case, keys, client))
    plain = federated.fedavg(problem, ROUNDS, LR, weight_decay=DECAY)
    assert far(oracle(problem, ROUNDS, LR, weight_decay=DECAY, **arguments), plain, problem.theta) > 1e-3


SAME: dict[str, tuple[str, dict[str, Any], dict[str, Any], str, dict[str, Any], dict[str, Any]]] = {
    "FedGAMMA(rho=0) is SCAFFOLD": ("fedgamma", {}, {"name": "sam", "rho": 0.0}, "scaffold", {}, {}),
    "MoFedSAM(rho=0) is FedCM": ("mofedsam", {}, {"name": "sam", "rho": 0.0}, "fedcm", {}, {}),
    "FedSpeed(rho=0) is FedDyn": (
        "fedspeed",
        {"proximal_weight": 0.3},
        {"name": "sam", "rho": 0.0},
        "feddyn",
        {"alpha": 0.3},
        {},
    ),
    "FedSMOO(rho=0) is FedSpeed(rho=0)": (
        "fedsmoo",
        {},
        {"name": "sam", "rho": 0.0},
        "fedspeed",
        {},
        {"name": "sam", "rho": 0.0},
    ),
    "FedGloSS(rho=0) is FedDyn": ("fedgloss", {"rho": 0.0, "beta": 4.0}, {}, "feddyn", {"alpha": 0.25}, {}),
    "FedLESAM(rho=0) is FedAvg": ("fedlesam", {"rho": 0.0}, {}, "fedavg", {}, {}),
    "FedLESAM-S(rho=0) is SCAFFOLD": ("fedlesam_s", {"rho": 0.0}, {}, "scaffold", {}, {}),
    "FedLESAM-D(rho=0) is FedDyn": ("fedlesam_d", {"rho": 0.0}, {}, "feddyn", {}, {}),
    "FedGloSS(warm from its radii) is FedGloSS": (
        "fedgloss",
        {"rho": 0.1, "warmup": 3, "initial_rho": 0.1},
        SAM,
        "fedgloss",
        {"rho": 0.1},
        SAM,
    ),
    "FedACG(0, 0) is FedAvg": ("fedacg", {"momentum": 0.0, "proximal_weight": 0.0}, {}, "fedavg", {}, {}),
    "FedACG(0) is FedProx": ("fedacg", {"momentum": 0.0, "proximal_weight": 0.5}, {}, "fedprox", {"mu": 0.5}, {}),
    "FedNSAM(0) is FedSAM": ("fednsam", {"momentum": 0.0}, SAM, "fedavg", {}, SAM),
    "FedNSAM as released(0) is FedSAM": ("fednsam", {"momentum": 0.0, "accumulate": False}, SAM, "fedavg", {}, SAM),
    "FedNSAM(rho=0) is FedACG": (
        "fednsam",
        {"momentum": 0.6},
        {"name": "sam", "rho": 0.0},
        "fedacg",
        {"momentum": 0.6, "proximal_weight": 0.0},
        {},
    ),
    "FedGF without divergence is FedSAM": ("fedgf", {"threshold": 1e9}, SAM, "fedavg", {}, SAM),
    "FedGF(rho=0) of one step is FedAvg": (
        "fedgf",
        {"rho": 0.0, "threshold": 0.0},
        {"name": "sam", "rho": 0.0, "batch_size": 100, "epochs": 1},
        "fedavg",
        {},
        {"batch_size": 100, "epochs": 1},
    ),
    "FedNova of equal steps is FedAvg": (
        "fednova",
        {},
        {"batch_size": 100, "momentum": 0.6},
        "fedavg",
        {},
        {"batch_size": 100, "momentum": 0.6},
    ),
    "FedExP(inf) is FedAvg": ("fedexp", {"epsilon": 1e15}, {}, "fedavg", {}, {}),
    "AdaBest(0, 0) is FedAvg": ("adabest", {"mu": 0.0, "beta": 0.0}, {}, "fedavg", {}, {}),
    "FedProx(0) is FedAvg": ("fedprox", {"mu": 0.0}, {}, "fedavg", {}, {}),
    "FedAvgM(0) is FedAvg": ("fedavgm", {"beta": 0.0}, {}, "fedavg", {}, {}),
    "FedCM(1) is FedAvg": ("fedcm", {"alpha": 1.0}, {}, "fedavg", {}, {}),
    "FedSWA(1, 1) is FedAvg": ("fedswa", {"lr": 1.0, "decay": 1.0}, {}, "fedavg", {}, {}),
}


@pytest.mark.parametrize("limit", SAME)
def test_limits(limit: str) -> None:
    one, keys, client, other, other_keys, other_client = SAME[limit]
    run = described(one, keys, client)
    start_P = Simulation(run).theta_P
    assert far(models(run), models(described(other, other_keys, other_client)), start_P) <= 1e-13


def test_qfedavg_of_0_is_fedavg_of_clients_with_as_many_examples() -> None:
    changes = {"data": {"name": "digits", "clients": 10, "partition": "iid", "samples_per_client": 24}}
    one, other = described("qfedavg", {"q": 0.0}, {}, **changes), described("fedavg", {}, {}, **changes)
    start_P = Simulation(one).theta_P
    assert set(Simulation(one).federation.sizes(range(10)).tolist()) == {24}
    assert far(models(one), models(other), start_P) <= 1e-9


def test_full_participation_and_one_local_step_is_a_centralised_step() -> None:
    client = {"batch_size": 100, "epochs": 1, "weight_decay": 0.0}
    run = described("fedavg", {}, client, cohort=7)
    simulation = Simulation(run)
    store, index = simulation.federation.examples(range(7))
    order = torch.cat([torch.from_numpy(own) for own in index])
    client = ClientContext(simulation.theta_P, {}, {}, 1.0, LR, run.client, Clock(0, 1))
    gradient = BatchOracle(
        simulation.context, simulation.context.store(store), Step(order, float(len(order))), 0, client
    )
    expected_P = simulation.theta_P - LR * gradient(simulation.theta_P)
    simulation.advance()
    assert (simulation.theta_P - expected_P).norm() <= 1e-13 * expected_P.norm()


def test_fedadam_is_torchs_adam_on_the_negative_update() -> None:
    run = described("fedadam", {"lr": 0.1, "bias_correction": True, "tau": 1e-6}, {})
    simulation = Simulation(run)
    parameter = torch.nn.Parameter(simulation.theta_P.clone())
    adam = torch.optim.Adam([parameter], lr=0.1, betas=(0.9, 0.99), eps=1e-6)
    for _ in range(ROUNDS):
        order = simulation.order(simulation.clock(), LR)
        blocks = simulation.trainer.train(simulation.theta_P, order)
        parameter.grad = -sum((block.weight_J @ block.update_JP for block in blocks), torch.zeros_like(parameter))
        adam.step()
        simulation.advance()
        assert (simulation.theta_P - parameter).norm() <= 1e-12 * parameter.norm()


@pytest.mark.parametrize(
    ("server", "client", "said"),
    [
        ("mofedsam", {"name": "sgd"}, r"client\.name = sgd: server\.name=mofedsam needs a client that perturbs"),
        ("fedgamma", {"name": "adamw"}, r"client\.name = adamw: server\.name=fedgamma needs a client that perturbs"),
        ("scaffold", {"name": "adamw"}, r"client\.name = adamw: server\.name=scaffold takes .* use sgd"),
        ("fedcm", {"name": "sam", "base": "adamw"}, r"client\.base = adamw: server\.name=fedcm takes .* use sgd"),
        ("fedlesam", {"name": "sam"}, r"client\.name = sam: server\.name=fedlesam perturbs by itself"),
        ("fedwmsam", {"name": "asam"}, r"client\.name = asam: server\.name=fedwmsam perturbs by itself"),
        ("fednsam", {"name": "sgd"}, r"client\.name = sgd: server\.name=fednsam needs a client that perturbs"),
        ("fedgf", {"name": "adamw"}, r"client\.name = adamw: server\.name=fedgf needs a client that perturbs"),
        ("fednova", {"name": "adamw"}, r"client\.name = adamw: server\.name=fednova takes .* use sgd"),
        (
            "fednova",
            {"name": "sgd", "momentum": 0.9, "persistent": True},
            r"client\.persistent = True: server\.name=fednova counts the gradients of one round",
        ),
        (
            {"name": "fedgloss", "warmup": 5},
            {"name": "gsam"},
            r"client\.name = gsam: server\.warmup warms up the radius",
        ),
        ("fedsmoo", {"name": "asam"}, r"client\.name = asam: server\.name=fedsmoo needs client\.name=sam"),
    ],
)
def test_combinations_without_meaning_are_refused(
    server: str | dict[str, Any], client: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        Run(server=server, client=client)  # type: ignore[arg-type]


@pytest.mark.parametrize("average", names(Average))
def test_averages_are_served_and_never_sent(average: str) -> None:
    own: dict[str, Any] = {"swa": {"cycle": 1, "start": 0.3}, "ema": {"decay": 0.6}, "wima": {"window": 3}}.get(
        average, {}
    )
    run = described("fedavg", {}, {}, average={"name": average, **own}, rounds=6)
    plain = models(described("fedavg", {}, {}, rounds=6), 6)
    simulation = Simulation(run)
    served = []
    for _ in range(6):
        simulation.advance()
        served.append(run.average.served(simulation.theta_P, simulation.average))
    if average == "swa":  # its learning rate is its own
        return
    assert torch.equal(simulation.theta_P, plain[-1])
    expected = {
        "none": plain,
        "ema": averages.ema(plain, 0.6),
        "wima": averages.wima(plain, 3),
    }[average]
    for one, other in zip(served, expected, strict=True):
        assert (one - other).norm() <= 1e-13 * other.norm()


@pytest.mark.parametrize("average", [{"name": "ema", "decay": 0.0}, {"name": "wima", "window": 1}])
def test_the_shortest_average_is_none(average: dict[str, Any]) -> None:
    run = described("fedavg", {}, {}, average=average)
    simulation = Simulation(run)
    for _ in range(3):
        simulation.advance()
        assert torch.equal(run.average.served(simulation.theta_P, simulation.average), simulation.theta_P)
