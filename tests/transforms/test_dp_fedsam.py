"""DP-FedSAM: SAM's clients under the Gaussian mechanism, against a transcription, over several rounds."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from fedsam import Run
from fedsam.federated.round_loop import Simulation
from fedsam.rng import stream
from tests.oracles import dp_fedsam
from tests.oracles.federated import Gradient
from tests.support.discovered import ENGINES
from tests.support.ragged import Ragged

pytest.importorskip("dp_accounting")

C, SIGMA, RHO, LR, SHARE, ROUNDS = 0.15, 0.6, 0.3, 0.05, 0.2, 3
PRIVATE: dict[str, Any] = {"privacy.name": "gaussian", "privacy.clip": C, "privacy.noise_multiplier": SIGMA}
TOPK: dict[str, Any] = {"compress.name": "topk", "compress.share": SHARE, "compress.error_feedback": False}


def described(engine: str = "loop", **changes: Any) -> Run:
    keys = {"data": Ragged(), "cohort": 5, "rounds": ROUNDS, "model.width": 8, "client.name": "sam", "client.rho": RHO}
    keys |= {"client.lr": LR, "client.batch_size": 4, "engine.name": engine, "engine.threads": 1}
    return Run.from_keys({**keys, "engine.precision": "fp64", **changes})


def models(run: Run) -> list[Tensor]:
    simulation, found = Simulation(run), []
    for _ in range(run.rounds):
        simulation.advance()
        found.append(simulation.theta_P.clone())
    return found


def batches(simulation: Simulation) -> tuple[list[int], list[list[Gradient]]]:
    """Who trains in the next round, and their mini-batches as functions."""
    order = simulation.order(simulation.clock(), LR)
    store, plans = simulation.context.plan(simulation.federation, order)
    module, layout = simulation.context.module, simulation.context.layout

    def gradient(index: Any) -> Gradient:
        inputs = (torch.from_numpy(store.inputs[index]).double().permute(0, 3, 1, 2) / 255 - 0.4) / 0.3
        labels = torch.from_numpy(store.targets[index])

        def at(theta_P: Tensor) -> Tensor:
            leaf = theta_P.clone().requires_grad_()
            loss = cross_entropy(functional_call(module, layout.views(leaf), (inputs,)), labels)
            return torch.autograd.grad(loss, leaf)[0]

        return at

    steps = [[gradient(plan.index_TB[t, :count]) for t, count in enumerate(plan.count_T.tolist())] for plan in plans]
    return list(order.ids), steps


def normal(purpose: str, round: int, client: int = 0, *, size: int) -> Tensor:
    return torch.from_numpy(stream(0, purpose, round, client).standard_normal(size))


@pytest.mark.parametrize("engine", ENGINES)
def test_rounds_are_those_of_the_transcription(engine: str) -> None:
    simulation = Simulation(described(engine, **PRIVATE, **{"privacy.noise_by": "clients"}))
    lengths = []
    for r in range(ROUNDS):
        ids, clients = batches(simulation)
        w = simulation.theta_P.clone()
        noises = [normal("client noise", r, client, size=len(w)) for client in ids]
        expected = dp_fedsam.round(w, clients, LR, RHO, C, SIGMA, noises)
        lengths += [float(dp_fedsam.local(w, own, LR, RHO).norm()) for own in clients]
        simulation.advance()
        torch.testing.assert_close(simulation.theta_P, expected, rtol=1e-9, atol=1e-11)
    assert min(lengths) < C < max(lengths)


@pytest.mark.parametrize("engine", ENGINES)
def test_rounds_of_topk_are_those_of_the_transcription(engine: str) -> None:
    simulation = Simulation(described(engine, **PRIVATE, **TOPK))
    for r in range(ROUNDS):
        _, clients = batches(simulation)
        w = simulation.theta_P.clone()
        k = math.ceil(SHARE * len(w))
        noise = normal("privacy", r, size=len(w))
        expected = dp_fedsam.sparse_round(w, clients, LR, RHO, C, SIGMA, k, noise)
        simulation.advance()
        torch.testing.assert_close(simulation.theta_P, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("more", [{}, TOPK], ids=["dense", "topk"])
def test_it_is_dp_fedavg_at_rho_zero_and_costs_as_much_privacy(more: dict[str, Any]) -> None:
    unperturbed = described(**PRIVATE, **more, **{"client.rho": 0.0})
    plain = described(**PRIVATE, **more).replace(client={"name": "sgd", "lr": LR, "batch_size": 4})
    assert all(torch.equal(a, b) for a, b in zip(models(unperturbed), models(plain), strict=True))
    assert not torch.equal(models(described(**PRIVATE, **more))[0], models(plain)[0])
    spent = []
    for run in (described(**PRIVATE, **more), plain):
        simulation = Simulation(run)
        simulation.advance()
        spent.append(simulation.private.record(simulation.done))
    assert spent[0] == spent[1]


def test_without_clip_and_noise_it_is_fedsam_with_equal_weights() -> None:
    wide = {"privacy.name": "gaussian", "privacy.clip": 1e6, "privacy.noise_multiplier": 0.0}
    simulation = Simulation(described(**wide))
    _, clients = batches(simulation)
    w = simulation.theta_P.clone()
    mean = torch.stack([dp_fedsam.local(w, own, LR, RHO) for own in clients]).mean(dim=0)
    simulation.advance()
    torch.testing.assert_close(simulation.theta_P, w + mean, rtol=1e-9, atol=1e-11)
