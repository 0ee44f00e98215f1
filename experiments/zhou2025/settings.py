"""The runs of Zhou et al. 2025."""

from __future__ import annotations

from typing import Any

from fedsam.optim.sam import SAM
from fedsam.optim.sgd import SGD
from fedsam.reproduce.base import Preset
from fedsam.reproduce.measurements import FirstSteps
from fedsam.run import Run

SEEDS: dict[Preset, int] = {"cpu": 7, "gpu": 3, "paper": 5}

LATE: dict[Preset, tuple[float, ...]] = {
    "cpu": (0.005, 0.025, 0.05, 0.1, 0.2, 0.5, 0.8),
    "gpu": (0.005, 0.1, 0.5),
    "paper": (0.005, 0.025, 0.05, 0.1, 0.2, 0.5, 0.8),
}
"""Shares of the epochs with SAM at the end."""
EARLY: dict[Preset, tuple[float, ...]] = {
    "cpu": (0.05, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.975),
    "gpu": (0.5, 0.9),
    "paper": (0.05, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.975),
}
"""Shares of the epochs with SAM at the beginning."""
ADVERSARIAL: dict[Preset, tuple[float, ...]] = {"cpu": (0.05, 0.1), "gpu": (0.1,), "paper": (0.05, 0.1)}
PREFIXES: dict[Preset, tuple[str, ...]] = {"cpu": ("",), "gpu": ("",), "paper": ("", "c100 ")}
"""Of names of runs, one a data set; adversarial training is on the first alone."""
RHO: dict[Preset, float] = {"cpu": 0.1, "gpu": 0.05, "paper": 0.05}
RADIUS: dict[Preset, float] = {"cpu": 0.1, "gpu": 4 / 255, "paper": 4 / 255}
IMAGES: dict[Preset, int] = {"cpu": 300, "gpu": 5000, "paper": 5000}
TEST_IMAGES: dict[Preset, int] = {"cpu": 397, "gpu": 10_000, "paper": 10_000}
"""By whose number accuracies are resolved."""

ALL: dict[str, Any] = {"data.clients": 1, "data.partition": "iid", "cohort": 1, "client.epochs": 1, "evaluate_every": 1}
ALL |= {"client.momentum": 0.9, "client.persistent": True, "client.weight_decay": 5e-4, "seed": 1, "rounds": 200}
SMALL: dict[str, Any] = {"data.name": "digits", "model.depth": 2, "client.lr": 0.02, "client.batch_size": 16}
SMALL |= {"data.samples_per_client": 300, "engine.name": "loop", "engine.threads": 1}
LARGE: dict[str, Any] = {"data.name": "cifar10", "data.augment": "crop_flip", "model.norm": "batch"}
LARGE |= {"client.lr": 0.1, "client.batch_size": 128}
LARGE |= {"client.schedule": "steps", "client.drop": 0.2, "client.period": 0.3, "client.drops": 2}
COMMON: dict[Preset, dict[str, Any]] = {
    "cpu": ALL | SMALL,
    "gpu": ALL | LARGE | {"model.name": "resnet18"},
    "paper": ALL | LARGE | {"model.name": "wide_resnet", "model.depth": 16, "model.width": 8},
}
CIFAR100: dict[str, Any] = {"data.name": "cifar100", "model.depth": 28, "model.width": 10}
SMOOTHED: dict[str, Any] = {"data.augment": "smoothing", "data.label_smoothing": 0.1}
SMOOTHED |= {"data.smoothing_over": "other", "data.smoothing_after": "cutout"}
"""What the authors' code does to batches of wide networks, but for adversarial training."""


def percent(share: float) -> str:
    """A share as it stands in names of runs."""
    return f"{100 * share:g}%"


def plain(preset: Preset) -> str:
    """The name of the run that adversarial training is compared with: SGD on batches like its own."""
    return "sgd-at 0%" if preset == "paper" else "sgd"


def runs(preset: Preset) -> dict[str, Run]:
    """SGD, SAM and adversarial training, and one of these after the other."""
    found: dict[str, Run] = {}
    for prefix in PREFIXES[preset]:
        common = COMMON[preset] | (SMOOTHED if preset == "paper" else {}) | (CIFAR100 if prefix else {})
        found |= {prefix + name: Run.from_keys(common | own) for name, own in _sharpness_aware(preset).items()}
    return found | {name: Run.from_keys(COMMON[preset] | own) for name, own in _adversarial(preset).items()}


def _sharpness_aware(preset: Preset) -> dict[str, dict[str, Any]]:
    rounds, rho = ALL["rounds"], {"client.rho": RHO[preset]}
    late = {"client.name": "late", "client.reset": True} | rho
    keys: dict[str, dict[str, Any]] = {"sgd": {"client.name": "sgd"}, "sam": {"client.name": "sam"} | rho}
    if plain(preset) == "sgd":
        keys["sgd"] |= _attacked(preset)
    for share in LATE[preset]:
        keys[f"sgd-sam {percent(share)}"] = late | {"client.switch": rounds - round(share * rounds)}
    for share in EARLY[preset]:
        early = {"client.first": "perturbed", "client.switch": round(share * rounds)}
        keys[f"sam-sgd {percent(share)}"] = late | early
    return keys


def _adversarial(preset: Preset) -> dict[str, dict[str, Any]]:
    rounds, attacked = ALL["rounds"], _attacked(preset)
    against = attacked | {f"client.{name}": attacked[f"attack.{name}"] for name in ("epsilon", "step_size")}
    late = {"client.name": "late", "client.reset": True, "client.ascent": "adversarial"} | against
    keys: dict[str, dict[str, Any]] = {"at": {"client.name": "adversarial"} | against}
    if plain(preset) != "sgd":
        keys[plain(preset)] = {"client.name": "sgd"} | attacked
    for share in ADVERSARIAL[preset]:
        keys[f"sgd-at {percent(share)}"] = late | {"client.switch": rounds - round(share * rounds)}
    return keys


def _attacked(preset: Preset) -> dict[str, Any]:
    return {"attack.name": "pgd", "attack.epsilon": RADIUS[preset], "attack.step_size": RADIUS[preset] / 2}


def first_steps(preset: Preset, name: str) -> FirstSteps:
    """The steps after the end of SGD, by SAM or by SGD, with its last learning rate."""
    common = COMMON[preset]
    last = common["client.lr"] * common.get("client.drop", 1.0) ** common.get("client.drops", 0)
    base = SGD(lr=last, batch_size=common["client.batch_size"], epochs=1, momentum=0.9, weight_decay=5e-4)
    return FirstSteps(SAM(rho=RHO[preset], base=base) if name == "sam" else base, images=IMAGES[preset])
