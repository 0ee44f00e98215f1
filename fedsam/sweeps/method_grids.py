"""What is tried of each method in `fedsam study methods`: a few values of its own keys, and learning rates.

Each list has the method's default or what its paper uses, and values around it. A method that stands nowhere here, such
as one of one's own, has its learning rates alone.
"""

from __future__ import annotations

from typing import Any

LR: dict[str, list[Any]] = {
    "sgd": [0.05, 0.1, 0.2, 0.4, 0.8],
    "adamw": [0.003, 0.01, 0.03, 0.1],
    "lion": [0.001, 0.003, 0.01, 0.03],
    "muon": [0.01, 0.03, 0.1, 0.3],
}
"""Of the clients, by their base optimiser."""

RHO: list[Any] = [0.02, 0.05, 0.1, 0.2]

CLIENT: dict[str, dict[str, list[Any]]] = {
    "sam": {"rho": RHO},
    "asam": {"rho": [0.1, 0.3, 0.7]},
    "samon": {"rho": [0.1, 0.2, 0.5]},
    "esam": {"rho": RHO, "beta": [0.6, 1.0], "gamma": [0.5, 0.8]},
    "fsam": {"rho": RHO, "sigma": [0.5, 1.0], "lmbda": [0.6, 0.9]},
    "gsam": {"rho": RHO, "alpha": [0.1, 0.2, 0.4]},
    "late": {"rho": RHO, "switch": [0.5, 0.75, 0.9]},
    "lookahead": {"rho": RHO, "k": [2, 5], "alpha": [0.5, 0.8]},
    "lookbehind": {"rho": [0.02, 0.05, 0.1], "k": [2, 3], "alpha": ["adaptive", 0.5]},
    "looksam": {"rho": RHO, "k": [2, 5], "alpha": [0.3, 0.7]},
    "multistep": {"rho": [0.02, 0.05, 0.1], "k": [2, 3]},
    "muon": {"rest": [0.015, 0.1, 1.0]},
    "wsam": {"rho": [0.02, 0.05, 0.1], "gamma": [0.3, 0.5, 0.7]},
    "adversarial": {"epsilon": [0.01, 0.03], "step_size": [0.01], "steps": [3]},
}

SERVER: dict[str, dict[str, list[Any]]] = {
    "adabest": {"mu": [0.002, 0.02, 0.1], "beta": [0.3, 0.85]},
    "fedacg": {"momentum": [0.5, 0.7, 0.85], "proximal_weight": [0.002, 0.1]},
    "fedadagrad": {"lr": [0.01, 0.03, 0.1], "tau": [0.001, 0.01]},
    "fedadam": {"lr": [0.01, 0.03, 0.1], "tau": [0.001, 0.01]},
    "fedyogi": {"lr": [0.01, 0.03, 0.1], "tau": [0.001, 0.01]},
    "fedavgm": {"beta": [0.5, 0.7, 0.9]},
    "fedcm": {"alpha": [0.1, 0.3, 0.6]},
    "feddyn": {"alpha": [0.01, 0.1, 0.3]},
    "fedexp": {"epsilon": [0.001, 0.1, 1.0]},
    "fedgamma": {"lr": [0.7, 1.0]},
    "fedgf": {"rho": [0.05, 0.1, 0.3], "threshold": [0.5, 1.0, 2.0]},
    "fedgloss": {"rho": [0.05, 0.15], "beta": [3.0, 10.0, 30.0]},
    "fedlesam": {"rho": [0.02, 0.1, 0.5]},
    "fedlesam_d": {"rho": [0.02, 0.1, 0.5], "alpha": [0.03, 0.1]},
    "fedlesam_s": {"rho": [0.02, 0.1, 0.5]},
    "fedmoswa": {"lr": [1.0, 1.5], "decay": [0.1, 0.5], "gamma": [0.2, 0.5]},
    "fednsam": {"momentum": [0.5, 0.7, 0.85]},
    "fedprox": {"mu": [0.01, 0.1, 1.0]},
    "fedsmoo": {"proximal_weight": [0.03, 0.1, 0.3]},
    "fedspeed": {"proximal_weight": [0.03, 0.1, 0.3]},
    "fedswa": {"lr": [1.0, 1.5], "decay": [0.1, 0.5]},
    "fedwmsam": {"rho": [0.01, 0.05], "alpha": [0.1, 0.3, 0.6]},
    "mofedsam": {"alpha": [0.1, 0.3, 0.6]},
    "qfedavg": {"q": [0.1, 1.0]},
    "scaffold": {"lr": [0.5, 0.7, 1.0]},
}
