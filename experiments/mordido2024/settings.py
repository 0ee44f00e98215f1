"""The runs of Mordido et al. 2024."""

from __future__ import annotations

from typing import Any

from fedsam.reproduce.base import Preset
from fedsam.reproduce.continued import Continued
from fedsam.run import Run

SEEDS: dict[Preset, int] = {"cpu": 7, "gpu": 3, "paper": 3}

PREFIXES: dict[Preset, tuple[str, ...]] = {"cpu": ("",), "gpu": ("",), "paper": ("", "c100 ")}
"""Of names of runs, one a data set; sequences of tasks are of the first alone."""
RHO: dict[Preset, tuple[float, ...]] = {"cpu": (0.05, 0.1, 0.2), "gpu": (0.05,), "paper": (0.02, 0.05, 0.1, 0.2)}
BASE: dict[Preset, float] = {"cpu": 0.1, "gpu": 0.05, "paper": 0.05}
CROSSED: dict[Preset, tuple[float, ...]] = {"cpu": (0.05, 0.1), "gpu": (0.05,), "paper": (0.05, 0.1)}
"""The radii at which Lookbehind has every k with every alpha; at the others it has every k with the adaptive one."""
ADAPTED: dict[Preset, tuple[float, ...]] = {"cpu": (0.5, 1.0), "gpu": (0.5,), "paper": (0.5, 1.0)}
"""Radii of ASAM."""
K: dict[Preset, tuple[int, ...]] = {"cpu": (2, 5), "gpu": (2,), "paper": (2, 5, 10)}
ADAPTED_K: dict[Preset, tuple[int, ...]] = {"cpu": (2, 5), "gpu": (2,), "paper": (2, 5)}
"""k of Lookbehind around ASAM."""
ALPHA: dict[Preset, tuple[float | str, ...]] = {
    "cpu": (0.2, 0.5, 0.8, "adaptive"),
    "gpu": (0.5, "adaptive"),
    "paper": (0.2, 0.5, 0.8, "adaptive"),
}
TASKS, TASK_ROUNDS = 4, 50
METHODS = ("sgd", "sam", "lookbehind", "asam", "lookbehind-asam")
"""Of the sequences of tasks."""
TEST_IMAGES: dict[Preset, int] = {"cpu": 397, "gpu": 10_000, "paper": 10_000}
"""By whose number accuracies are resolved."""
RADII = (0.05, 0.1, 0.2, 0.5)
SIGMAS = (0.0, 0.1, 0.2, 0.4, 0.6)

ALL: dict[str, Any] = {"data.clients": 1, "data.partition": "iid", "cohort": 1, "client.epochs": 1, "evaluate_every": 1}
ALL |= {"client.momentum": 0.9, "client.persistent": True, "client.weight_decay": 5e-4, "seed": 1}
ALL |= {"client.schedule": "steps", "client.drop": 0.1, "client.period": 0.25, "client.drops": 3}
SMALL: dict[str, Any] = {"data.name": "digits", "data.samples_per_client": 300, "model.depth": 2, "rounds": 60}
SMALL |= {"client.lr": 0.02, "client.batch_size": 16, "engine.name": "loop", "engine.threads": 1}
LARGE: dict[str, Any] = {"data.name": "cifar10", "data.augment": "crop_flip", "model.norm": "batch", "rounds": 200}
LARGE |= {"client.lr": 0.1, "client.batch_size": 128}
COMMON: dict[Preset, dict[str, Any]] = {
    "cpu": ALL | SMALL,
    "gpu": ALL | LARGE | {"model.name": "resnet18"},
    "paper": ALL | LARGE | {"model.name": "resnet34"},
}
CIFAR100: dict[str, Any] = {"data.name": "cifar100", "model.name": "resnet50"}


def sam(preset: Preset, prefix: str = "") -> str:
    """The name of the run that Lookbehind is compared with."""
    return f"{prefix}sam rho={BASE[preset]:g}"


def asam(preset: Preset, prefix: str = "") -> str:
    """The same of Lookbehind around ASAM."""
    return f"{prefix}asam rho={ADAPTED[preset][0]:g}"


def lookbehind(
    preset: Preset, k: int = 2, rho: float | None = None, alpha: float | str = "adaptive", prefix: str = ""
) -> str:
    """The name of a run."""
    return f"{prefix}lookbehind k={k} rho={BASE[preset] if rho is None else rho:g} alpha={alpha}"


def lookbehind_asam(preset: Preset, k: int = 2, rho: float | None = None, prefix: str = "") -> str:
    """The name of a run."""
    return f"{prefix}lookbehind-asam k={k} rho={ADAPTED[preset][0] if rho is None else rho:g}"


def runs(preset: Preset) -> dict[str, Run]:
    """Each method over its numbers, and five of them on a sequence of tasks."""
    found: dict[str, Run] = {}
    for prefix in PREFIXES[preset]:
        common = COMMON[preset] | (CIFAR100 if prefix else {})
        found |= {name: Run.from_keys(common | own) for name, own in _methods(preset, prefix).items()}
    return found | _sequences(preset)


def _methods(preset: Preset, prefix: str) -> dict[str, dict[str, Any]]:
    keys: dict[str, dict[str, Any]] = {f"{prefix}sgd": {"client.name": "sgd"}}
    for rho in RHO[preset]:
        keys[f"{prefix}sam rho={rho:g}"] = {"client.name": "sam", "client.rho": rho}
        for k in K[preset]:
            for alpha in ALPHA[preset] if rho in CROSSED[preset] else ("adaptive",):
                keys[lookbehind(preset, k, rho, alpha, prefix)] = _lookbehind(k, rho, alpha)
    for rho in ADAPTED[preset]:
        keys[f"{prefix}asam rho={rho:g}"] = {"client.name": "asam", "client.rho": rho, "client.eta": 0.0}
        for k in ADAPTED_K[preset]:
            keys[lookbehind_asam(preset, k, rho, prefix)] = _around_asam(k, rho)
    for k in K[preset]:
        for name in ("multistep", "lookahead"):
            keys[f"{prefix}{name} k={k}"] = {"client.name": name, "client.k": k, "client.rho": BASE[preset]}
    return keys


def _lookbehind(k: int, rho: float, alpha: float | str) -> dict[str, Any]:
    return {"client.name": "lookbehind", "client.k": k, "client.rho": rho, "client.alpha": alpha}


def _around_asam(k: int, rho: float) -> dict[str, Any]:
    return _lookbehind(k, rho, "adaptive") | {"client.ascent": "asam", "client.eta": 0.0}


def _sequences(preset: Preset) -> dict[str, Run]:
    common = COMMON[preset] | {"rounds": TASK_ROUNDS}
    common["data.name"] = f"fedsam.data.images.rotated:Rotated{'Digits' if preset == 'cpu' else 'CIFAR10'}"
    base, adapted = BASE[preset], ADAPTED[preset][0]
    own: dict[str, dict[str, Any]] = {
        "sgd": {"client.name": "sgd"},
        "sam": {"client.name": "sam", "client.rho": base},
        "lookbehind": _lookbehind(2, base, "adaptive"),
        "asam": {"client.name": "asam", "client.rho": adapted, "client.eta": 0.0},
        "lookbehind-asam": _around_asam(2, adapted),
    }
    found = {}
    for method in METHODS:
        for task in range(1, TASKS + 1):
            run = Run.from_keys(common | own[method] | {"data.turns": task - 1})
            before = Continued(of=f"{method} task {task - 1}")
            found[f"{method} task {task}"] = run if task == 1 else run.replace(model=before)
    return found
