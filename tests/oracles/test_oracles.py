"""Limits that hold between the federated oracles by their equations."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor

from tests.oracles import (
    adabest,
    adaptive,
    averages,
    fedacg,
    fedavgm,
    fedcm,
    feddyn,
    fedexp,
    fedgf,
    fedgloss,
    fedlesam,
    fedmoswa,
    fednova,
    fednsam,
    fedprox,
    fedsmoo,
    fedspeed,
    fedswa,
    fedwmsam,
    scaffold,
)
from tests.oracles.federated import fedavg, norm
from tests.oracles.quadratics import Quadratics

BASE = {"lr": 0.05, "weight_decay": 0.02, "momentum": 0.6}
SHARP = BASE | {"rho": 0.3}
RAGGED = Quadratics()
EVERYONE = Quadratics(participants=5)
SAME = Quadratics(participants=5, identical=True)
EQUAL = Quadratics(steps=3)
ALONE = Quadratics(clients=1, participants=1)
ONE = Quadratics(clients=1, participants=1, steps=1)

LIMITS = {  # problem, settings, one method and its own settings, the other and its own
    "fedavgm(0) = fedavg": (RAGGED, SHARP, fedavgm.run, {"beta": 0}, fedavg, {}),
    "fedprox(0) = fedavg": (RAGGED, SHARP, fedprox.run, {"mu": 0}, fedavg, {}),
    "fedcm(1) = fedavg": (RAGGED, SHARP, fedcm.run, {"alpha": 1}, fedavg, {}),
    "fedswa(1, 1) = fedavg": (RAGGED, SHARP, fedswa.run, {"rho_lr": 1, "alpha": 1}, fedavg, {}),
    # everyone every round: else c_i are stale, and g − c_i + c ≠ g even where all clients are the same
    "scaffold of the same clients = fedavg": (SAME, SHARP, scaffold.run, {}, fedavg, {}),
    "scaffold alone = fedavg": (ALONE, SHARP, scaffold.run, {}, fedavg, {}),
    "fedspeed = feddyn": (RAGGED, SHARP, fedspeed.run, {"lam": 0.7}, feddyn.run, {"alpha": 0.7}),
    "fedsmoo(rho 0) = fedspeed(rho 0)": (RAGGED, BASE, fedsmoo.run, {"lam": 0.7}, fedspeed.run, {"lam": 0.7}),
    "fedlesam(rho 0) = fedavg": (RAGGED, BASE, fedlesam.run, {}, fedavg, {}),
    "fedlesam-s(rho 0) = scaffold": (RAGGED, BASE, fedlesam.run, {"variant": "scaffold"}, scaffold.run, {}),
    "fedlesam-d(rho 0) = feddyn": (RAGGED, BASE, fedlesam.run, {"variant": "dual"}, feddyn.run, {"alpha": 0.1}),
    "fedgloss(rho 0) = feddyn": (RAGGED, BASE, fedgloss.run, {"beta": 4}, feddyn.run, {"alpha": 0.25}),
    "fedmoswa = scaffold": (EVERYONE, SHARP, fedmoswa.run, {"rho_lr": 1, "alpha": 1, "gamma": 1}, scaffold.run, {}),
    "fedgloss(warm from its radii) = fedgloss": (
        RAGGED,
        BASE,
        fedgloss.run,
        {"beta": 4, "rho": 0.3, "rho_l": 0.3, "rho_0": 0.3, "T_s": 5},
        fedgloss.run,
        {"beta": 4, "rho": 0.3, "rho_l": 0.3},
    ),
    "fedacg(0, 0) = fedavg": (RAGGED, SHARP, fedacg.run, {"lam": 0}, fedavg, {}),
    "fedacg(0) = fedprox": (RAGGED, SHARP, fedacg.run, {"lam": 0, "beta": 0.7}, fedprox.run, {"mu": 0.7}),
    "fednsam(0) = fedsam": (RAGGED, SHARP, fednsam.run, {"gamma": 0}, fedavg, {}),
    "fednsam as released(0) = fedsam": (RAGGED, SHARP, fednsam.run, {"gamma": 0, "accumulate": False}, fedavg, {}),
    "fednsam = fedacg of sam": (RAGGED, SHARP, fednsam.run, {"gamma": 0.6}, fedacg.run, {"lam": 0.6}),
    "fedgf without divergence = fedsam": (RAGGED, SHARP, fedgf.run, {"rho_g": 0.5, "threshold": 1e9}, fedavg, {}),
    "fednova of equal steps = fedavg": (EQUAL, SHARP, fednova.run, {}, fedavg, {}),
    "fednova alone = fedavg": (ALONE, SHARP, fednova.run, {"eta_g": 0.8}, fedavg, {"eta_g": 0.8}),
    "fedexp alone = fedavg": (ALONE, SHARP, fedexp.run, {"epsilon": 1e-3}, fedavg, {}),
    "fedexp of the same clients = fedavg": (SAME, SHARP, fedexp.run, {"epsilon": 1e-3}, fedavg, {}),
    "fedexp(inf) = fedavg": (RAGGED, SHARP, fedexp.run, {"epsilon": 1e12}, fedavg, {}),
    "adabest(0, 0) = fedavg": (RAGGED, SHARP, adabest.run, {"mu": 0, "beta": 0}, fedavg, {}),
    "fedwmsam(rho 0) = fedcm": (ALONE, BASE, fedwmsam.run, {"alpha": 0.4, "lam": 0}, fedcm.run, {"alpha": 0.4}),
}


def same(left: list[Tensor], right: list[Tensor]) -> None:
    torch.testing.assert_close(torch.stack(left), torch.stack(right), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("limit", LIMITS)
def test_limit(limit: str) -> None:
    problem, settings, one, ones, other, others = LIMITS[limit]
    models = one(problem, 9, **settings, **ones)
    assert norm(models[0] - problem.theta) > 0.01
    same(models, other(problem, 9, **settings, **others))


ADAM = {"method": "fedadam", "bias_correction": True, "tau": 0.01}
ADAGRAD = {"method": "fedadagrad", "beta1": 0, "tau": 0.01}
SERVERS = {  # method, its settings, the centralised optimiser and its
    "fedavgm": (fedavgm.run, {"beta": 0.8}, torch.optim.SGD, {"momentum": 0.8}),
    "fedadam": (adaptive.run, ADAM, torch.optim.Adam, {"betas": (0.9, 0.99), "eps": 0.01}),
    "fedadagrad": (adaptive.run, ADAGRAD, torch.optim.Adagrad, {"initial_accumulator_value": 1e-4, "eps": 0.01}),
}


@pytest.mark.parametrize("server", SERVERS)
def test_server_optimisers_are_torch_s(server: str) -> None:
    """One client and one step with lr = 1: Δ = −∇L, and the server steps as the centralised optimiser does."""
    run, settings, optimizer_class, theirs = SERVERS[server]
    w = torch.nn.Parameter(ONE.theta.clone())
    optimizer = optimizer_class([w], lr=0.1, **theirs)
    for r, model in enumerate(run(ONE, 9, 1, eta_g=0.1, **settings)):
        w.grad = ONE.batches(r, 0)[0](w.detach())
        optimizer.step()
        same([model], [w.detach()])


DUALS = [(feddyn, {"alpha": 0.5}), (fedspeed, {"lam": 0.5}), (fedgloss, {"beta": 2})]


@pytest.mark.parametrize(("method", "settings"), [(scaffold, {}), (fedmoswa, {}), *DUALS])
def test_drift_free(method: ModuleType, settings: dict[str, float]) -> None:
    """Exact gradients, different clients: the minimum of the PLAIN mean loss, whatever the n_k and K_k."""
    exact = Quadratics(noise=0, participants=5 if method is fedmoswa else 3)
    assert norm(method.run(exact, 500, 0.1, **settings)[-1] - exact.optimum()) < 1e-6
    assert norm(fedavg(exact, 500, 0.1)[-1] - exact.optimum()) > 0.1


def test_fedwmsam_without_momentum_is_scaffold() -> None:
    models = fedwmsam.run(RAGGED, 9, **BASE, alpha=1 - 1e-7, lam=0)
    torch.testing.assert_close(models, scaffold.run(RAGGED, 9, **BASE), rtol=0, atol=1e-5)


def test_averages() -> None:
    thetas = [torch.tensor([x]).double() for x in (1.0, 3.0, 8.0)]
    same(averages.ema(thetas, 0), thetas)
    same(averages.wima(thetas, 1), thetas)
    assert [float(e) for e in averages.ema(thetas, 0.5)] == [1, 2, 5]
    assert [float(e) for e in averages.wima(thetas, 2)] == [1, 2, 5.5]
