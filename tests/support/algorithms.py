"""Every algorithm with settings and the oracle of its paper; and one that is not linear."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from fedsam import Run
from fedsam.algorithm.strategy import State
from fedsam.schedule.base import Clock
from strategies.fedavg import FedAvg
from tests.oracles import (
    adabest,
    adaptive,
    fedacg,
    fedavgm,
    fedcm,
    feddyn,
    federated,
    fedexp,
    fedgf,
    fedgloss,
    fedlesam,
    fedmoswa,
    fednova,
    fednsam,
    fedper,
    fedprox,
    fedsmoo,
    fedspeed,
    fedswa,
    fedwmsam,
    qfedavg,
    scaffold,
)
from tests.support.ragged import Ragged

ROUNDS, LR, DECAY = 4, 0.05, 0.01
LAST, FIRST = 3 * 64 + 3, 64 * 64 + 64  # parameters of the last and the first layer of its perceptron
SAM = {"name": "sam", "rho": 0.1}
Oracle = Callable[..., list[Tensor]]
# server keys, client keys, oracle, its own arguments
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], Oracle, dict[str, Any]]] = {
    "fedavg": ({"lr": 0.7}, {}, federated.fedavg, {"eta_g": 0.7}),
    "fedavgm": ({"lr": 0.7, "beta": 0.6}, {}, fedavgm.run, {"eta_g": 0.7, "beta": 0.6}),
    "fedadagrad": ({"lr": 0.1, "beta1": 0.8}, {}, adaptive.run, {"eta_g": 0.1, "method": "fedadagrad", "beta1": 0.8}),
    "fedyogi": ({"lr": 0.1}, {}, adaptive.run, {"eta_g": 0.1, "method": "fedyogi"}),
    "fedadam": ({"lr": 0.1}, {}, adaptive.run, {"eta_g": 0.1, "method": "fedadam"}),
    "fedadam corrected": (
        {"lr": 0.1, "bias_correction": True},
        {},
        adaptive.run,
        {"eta_g": 0.1, "method": "fedadam", "bias_correction": True},
    ),
    "fedprox": ({"mu": 0.5}, {}, fedprox.run, {"mu": 0.5}),
    "fedper": ({"lr": 0.9}, {}, fedper.run, {"eta_g": 0.9, "personal": slice(-LAST, None)}),
    "fedper sam": ({}, SAM, fedper.run, {"rho": 0.1, "personal": slice(-LAST, None)}),
    "fedper of the first layer": ({"keep": "fc1.*, nothing"}, {}, fedper.run, {"personal": slice(0, FIRST)}),
    "scaffold": ({"lr": 0.9}, {}, scaffold.run, {"eta_g": 0.9}),
    "fedgamma": ({}, SAM, scaffold.run, {"rho": 0.1}),
    "feddyn": ({"alpha": 0.3}, {}, feddyn.run, {"alpha": 0.3}),
    "fedcm": ({"alpha": 0.3, "lr": 0.9}, {}, fedcm.run, {"alpha": 0.3, "eta_g": 0.9}),
    "mofedsam": ({"alpha": 0.3}, SAM, fedcm.run, {"alpha": 0.3, "rho": 0.1}),
    "fedspeed": ({"proximal_weight": 0.3}, SAM, fedspeed.run, {"lam": 0.3, "rho": 0.1}),
    "fedsmoo": ({"proximal_weight": 0.3}, SAM, fedsmoo.run, {"lam": 0.3, "rho": 0.1}),
    "fedlesam": ({"rho": 0.3, "lr": 0.9}, {}, fedlesam.run, {"rho": 0.3, "eta_g": 0.9}),
    "fedlesam_s": ({"rho": 0.3}, {}, fedlesam.run, {"rho": 0.3, "variant": "scaffold"}),
    "fedlesam_d": ({"rho": 0.3, "alpha": 0.3}, {}, fedlesam.run, {"rho": 0.3, "variant": "dual", "alpha": 0.3}),
    "fedgloss": ({"rho": 0.2, "beta": 3.0}, SAM, fedgloss.run, {"rho": 0.2, "beta": 3.0, "rho_l": 0.1}),
    "fedgloss warmed up": (
        {"rho": 0.2, "beta": 3.0, "warmup": 3, "initial_rho": 0.02},
        SAM,
        fedgloss.run,
        {"rho": 0.2, "beta": 3.0, "rho_l": 0.1, "rho_0": 0.02, "T_s": 3},
    ),
    "fedacg": ({"momentum": 0.6, "proximal_weight": 0.5}, {}, fedacg.run, {"lam": 0.6, "beta": 0.5}),
    "fednsam": ({"momentum": 0.6}, SAM, fednsam.run, {"gamma": 0.6, "rho": 0.1}),
    "fednsam released": (
        {"momentum": 0.6, "accumulate": False},
        SAM,
        fednsam.run,
        {"gamma": 0.6, "rho": 0.1, "accumulate": False},
    ),
    "fedgf": (
        {"rho": 0.3, "threshold": 0.38, "window": 2},
        SAM,
        fedgf.run,
        {"rho": 0.1, "rho_g": 0.3, "threshold": 0.38, "window": 2},
    ),
    "fednova": ({"lr": 0.9}, {}, fednova.run, {"eta_g": 0.9}),
    "fednova with momentum": ({}, {"momentum": 0.6}, fednova.run, {"momentum": 0.6}),
    "fednova with Nesterov": (
        {},
        {"momentum": 0.6, "nesterov": True},
        fednova.run,
        {"momentum": 0.6, "nesterov": True},
    ),
    "fedexp": ({"epsilon": 1e-4}, {}, fedexp.run, {"epsilon": 1e-4}),
    "qfedavg": ({"q": 2.0, "lr": 0.9}, {}, qfedavg.run, {"q": 2.0, "eta_g": 0.9}),
    "qfedavg small": ({"q": 0.3}, {"momentum": 0.5}, qfedavg.run, {"q": 0.3, "momentum": 0.5}),
    "adabest": ({"mu": 0.5, "beta": 0.6}, {}, adabest.run, {"mu": 0.5, "beta": 0.6}),
    "fedswa": ({"lr": 1.2, "decay": 0.3}, {}, fedswa.run, {"alpha": 1.2, "rho_lr": 0.3}),
    "fedmoswa": (
        {"lr": 1.2, "decay": 0.3, "gamma": 0.4},
        {},
        fedmoswa.run,
        {"alpha": 1.2, "rho_lr": 0.3, "gamma": 0.4},
    ),
    "fedwmsam": (
        {"rho": 0.1, "alpha": 0.2, "adaptation": 0.3},
        {},
        fedwmsam.run,
        {"rho": 0.1, "alpha": 0.2, "lam": 0.3, "cosine": "released"},
    ),
}


def described(server: str, keys: dict[str, Any], client: dict[str, Any], engine: str = "loop", **changes: Any) -> Run:
    local = {"name": "sgd", "lr": LR, "batch_size": 4, "epochs": 2, "weight_decay": DECAY, **client}
    values: dict[str, Any] = {
        "data": Ragged(),
        "cohort": 4,
        "rounds": ROUNDS,
        "client": local,
        "server": {"name": server.split(maxsplit=1)[0], **keys},
        "engine": {"name": engine, "precision": "fp64", "threads": 1},
    }
    return Run(**{**values, **changes})


class Median(FedAvg):
    """A strategy that is not linear: the median over clients of each parameter."""

    linear = False

    def step(
        self, theta_P: Tensor, updates: Iterable[tuple[Tensor, Tensor]], state: State, clock: Clock
    ) -> tuple[Tensor, State]:
        return theta_P + torch.cat([delta_KP for delta_KP, _ in updates]).median(dim=0).values, state
