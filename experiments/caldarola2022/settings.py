"""The runs of Caldarola et al. 2022."""

from __future__ import annotations

from typing import Any

from fedsam.reproduce.base import Preset
from fedsam.run import Run

SEEDS: dict[Preset, int] = {"cpu": 3, "gpu": 3, "paper": 3}

ALPHAS: dict[Preset, tuple[float, ...]] = {
    "cpu": (0, 0.5, 100),
    "gpu": (0, 0.5, 100),
    "paper": (0, 0.05, 0.1, 0.2, 0.5, 1, 10, 100),
}
ALPHAS_100: dict[Preset, tuple[float, ...]] = {"cpu": (), "gpu": (0,), "paper": (0, 0.5, 1000)}
MORE_CLIENTS: dict[Preset, tuple[float, ...]] = {"cpu": (0,), "gpu": (0,), "paper": (0, 0.05, 100)}
IMAGES: dict[Preset, int] = {"cpu": 1400, "gpu": 5000, "paper": 5000}

METHODS = ("fedavg", "fedsam", "fedasam", "fedavg+swa", "fedsam+swa", "fedasam+swa")
ENDS = ("fedavg", "fedasam+swa")
OTHERS = ("fedprox", "scaffold", "fedavgm", "feddyn")

ALL: dict[str, Any] = {"data.clients": 100, "client.epochs": 1, "cohort": 5, "seed": 1}
SMALL: dict[str, Any] = {"data.name": "digits", "client.lr": 0.1, "client.batch_size": 2, "engine.threads": 1}
SMALL |= {"rounds": 150, "evaluate_every": 10, "evaluate_last": 20}
LARGE: dict[str, Any] = {"data.name": "cifar10", "data.augment": "crop_flip", "model.name": "cnn"}
LARGE |= {"client.lr": 0.01, "client.batch_size": 64, "client.weight_decay": 4e-4}
LARGE |= {"rounds": 10_000, "evaluate_every": 100, "evaluate_last": 100}

Keys = dict[str, Any]


def named(method: str, alpha: float, *more: str) -> str:
    """The name of a run."""
    return " ".join([method, f"alpha {alpha:g}", *more])


def client(method: str, sam: float, asam: float) -> Keys:
    """The client optimiser of a method, and the average over rounds."""
    kind, plus, _ = method.removeprefix("fed").partition("+")
    keys: Keys = {"average.name": "swa"} if plus else {}
    if kind in ("sam", "asam"):
        keys |= {"client.name": kind, "client.rho": sam if kind == "sam" else asam}
    return keys


def digits(method: str, alpha: float) -> Keys:
    """`cpu`."""
    swa = {"average.cycle": 5, "average.lr_end": 0.001} if "+" in method else {}
    return ALL | SMALL | {"data.alpha": alpha} | client(method, 0.2, 0.7) | swa


def cifar10(method: str, alpha: float) -> Keys:
    """`gpu` and `paper`, with the authors' splits."""
    split = {"data.partition": "file", "data.split_file": f"fedsam_eccv2022.npz:alpha_{alpha:.2f}"}
    radii = (0.1, 0.7) if alpha <= 0.5 else (0.02, 0.05)
    return ALL | LARGE | split | client(method, *radii)


def cifar100(method: str, alpha: float) -> Keys:
    """`gpu` and `paper`."""
    own = {"data.name": "cifar100", "data.alpha": alpha, "rounds": 20_000}
    return ALL | LARGE | own | client(method, 0.05 if alpha else 0.02, 0.5)


def runs(preset: Preset) -> dict[str, Run]:
    """All cells of a preset."""
    small = preset == "cpu"
    of, few = digits if small else cifar10, METHODS if preset == "paper" else ENDS
    keys = {named(method, alpha): of(method, alpha) for alpha in ALPHAS[preset] for method in METHODS}
    for clients in (10, 20):
        more, some = {"cohort": clients}, f"{clients} a round"
        keys |= {named(m, alpha, some): of(m, alpha) | more for alpha in MORE_CLIENTS[preset] for m in few}
    for name, own in augments(small).items():
        keys |= {named(method, 0, name): of(method, 0) | own for method in few}
    for name, own in others(small).items():
        keys[named(name, 0)] = of("fedavg", 0) | {"server.name": name} | own
    for name in ("sgd", "sam", "asam"):
        own = of(f"fed{name}", 100) | {"data.clients": 1, "cohort": 1, "data.partition": "iid"}
        own |= {"client.batch_size": 64, "evaluate_last": 20} | ({} if small else {"rounds": 200, "evaluate_every": 20})
        keys[f"{name} central"] = {key: value for key, value in own.items() if key not in ("data.alpha", SPLIT)}
    for alpha in ALPHAS_100[preset]:
        keys |= {f"cifar100 {named(method, alpha)}": cifar100(method, alpha) for method in METHODS}
        for clients in (10, 20) if preset == "paper" else ():
            some = f"{clients} a round"
            keys |= {f"cifar100 {named(m, alpha, some)}": cifar100(m, alpha) | {"cohort": clients} for m in METHODS}
    if not small:
        keys |= {named(m, LEAKY, "leak"): of(m, LEAKY) | {"data.fedsam_leak": True} for m in ENDS}
    return {name: Run.from_keys(own) for name, own in keys.items()}


SPLIT = "data.split_file"
LEAKY = 100
"""The alpha at which the leak is measured, where training goes furthest."""


def augments(small: bool) -> dict[str, Keys]:
    """mixup and cutout; on digits, which are not to be mirrored, alone and with a hole of half their side."""
    mixup, cutout = {"data.augment": "mixup"}, {"data.augment": "cutout"}
    if small:
        mixup |= {"data.mixup_after": "none"}
        return {"mixup": mixup, "cutout": cutout | {"data.cutout_after": "none", "data.cutout_size": 4}}
    return {"mixup": mixup, "cutout": cutout}


def others(small: bool) -> dict[str, Keys]:
    """The methods compared with, by the names of their strategies."""
    own: dict[str, Keys] = {name: {} for name in OTHERS}
    if small:
        own |= {"fedavgm": {"server.beta": 0.5}, "feddyn": {"server.alpha": 0.01}}
    return own | {"fedgloss": {"client.name": "sam", "client.rho": 0.1 if small else 0.15}}
