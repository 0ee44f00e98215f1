"""The runs of Kwon et al. 2021."""

from __future__ import annotations

from typing import Any

from fedsam.optim.asam import ASAM
from fedsam.optim.sam import SAM
from fedsam.reproduce.base import Preset
from fedsam.run import Run

SEEDS: dict[Preset, int] = {"cpu": 7, "gpu": 3, "paper": 3}

OPTIMISERS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "sam": {"client.name": "sam"},
    "asam": {"client.name": "asam", "client.eta": 0.0},
    "asam-all": {"client.name": "asam", "client.scaling": "all"},
}
NOISE: dict[Preset, tuple[float, ...]] = {
    "cpu": (0.0, 0.2, 0.4, 0.6, 0.8),
    "gpu": (0.0, 0.4, 0.8),
    "paper": (0.0, 0.2, 0.4, 0.6, 0.8),
}
PREFIXES: dict[Preset, tuple[str, ...]] = {"cpu": ("",), "gpu": ("",), "paper": ("", "c100 ")}
"""Of names of runs with BatchNorm, one a data set; all others are on the first."""
BATCHES: dict[Preset, tuple[int, ...]] = {"cpu": (16, 64, 256), "gpu": (128,), "paper": (32, 128, 512)}
RATES, DECAYS = (0.02, 0.05, 0.1), (1e-4, 5e-4, 2e-3)
FACTORS = (1.0, 2.0, 3.0, 5.0, 8.0)
FACTOR = 3.0
"""Of the claims; no power of two, so that rescaling rounds."""
IMAGES: dict[Preset, int] = {"cpu": 1400, "gpu": 5000, "paper": 5000}
TEST_IMAGES: dict[Preset, int] = {"cpu": 397, "gpu": 10_000, "paper": 10_000}
"""By whose number accuracies are resolved."""
FEWER: dict[Preset, int] = {"cpu": 256, "gpu": 1000, "paper": 1000}

ALL: dict[str, Any] = {"data.clients": 1, "data.partition": "iid", "cohort": 1, "client.epochs": 1, "evaluate_every": 1}
ALL |= {"client.momentum": 0.9, "client.persistent": True, "client.weight_decay": 5e-4, "client.schedule": "cosine"}
ALL |= {"seed": 1}

BALLS: dict[str, SAM | ASAM] = {
    "sharpness": SAM(rho=0.05),
    "adaptive, weights": ASAM(rho=0.2, eta=0.0),
    "adaptive, all": ASAM(rho=0.5, scaling="all"),
}
"""Balls in which sharpness is measured, with the radii of training in `cpu`."""
NORMS = ("batch", "none")


def rescaling(norm: str, preset: Preset) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is multiplied in each block of a network, and what is divided: beyond it nothing changes, ReLU lies between.
    In a wide residual network the second normalisation reads the first convolution, in the others the first does.
    """
    if norm == "none":
        return ("*.conv1.weight",), ("*.conv2.weight",)
    place = "norm2" if preset == "paper" else "norm1"
    return (f"*.{place}.weight", f"*.{place}.bias"), ("*.conv2.weight",)


def small() -> dict[str, dict[str, Any]]:
    """Keys of the groups of runs in `cpu`; "" has those of all."""
    residual = {"model.name": "resnet20", "model.channels": 4, "rounds": 10, "engine.name": "loop"}
    perceptron = {"model.name": "mlp", "model.depth": 2}
    return {
        "": {"data.name": "digits", "client.lr": 0.05, "client.batch_size": 64, "rounds": 60, "engine.threads": 1},
        "batch": residual | {"model.norm": "batch"},
        "none": residual | {"model.norm": "none", "client.lr": 0.03},
        "noise": perceptron | {"engine.name": "loop"},
        "grid": perceptron | {"engine.name": "cohort"},
    }


def large(preset: Preset) -> dict[str, dict[str, Any]]:
    """The same of the other presets."""
    common = {"data.name": "cifar10", "data.augment": "crop_flip", "client.lr": 0.1, "client.batch_size": 128}
    narrow: dict[str, Any] = {"model.name": "resnet20", "model.norm": "batch"}
    wide = {"model.name": "wide_resnet", "model.depth": 28, "model.width": 10, "model.norm": "batch"}
    smoothed = {"data.augment": "smoothing", "data.label_smoothing": 0.1, "data.smoothing_after": "crop_flip"}
    plain = {"model.name": "resnet18" if preset == "paper" else "resnet20", "model.norm": "none", "client.lr": 0.01}
    return {
        "": common | {"rounds": 200},
        "batch": wide | smoothed if preset == "paper" else narrow,
        "none": plain,
        "noise": narrow,
        "grid": narrow,
    }


def radii(preset: Preset) -> dict[str, dict[str, float]]:
    """rho of each optimiser in `batch` and `none`, on CIFAR-100 (`c100 `), and in `noise`."""
    if preset == "cpu":
        small = {"sam": 0.05, "asam": 0.2, "asam-all": 0.5}
        return {"": small, "noise": {"sam": 0.3, "asam": 2.0, "asam-all": 4.0}}
    found = {"sam": 0.05, "asam": 0.5, "asam-all": 2.0}
    return {"": found, "c100 ": {"sam": 0.1, "asam": 1.0, "asam-all": 2.0}, "noise": found}


def noisy(share: float) -> str:
    """A share of wrong labels as it begins names of runs."""
    return f"noise {100 * share:g}%"


def grid(preset: Preset) -> dict[str, dict[str, Any]]:
    """The models whose sharpness and generalisation gap are compared: their own keys by run name."""
    return {
        f"grid b{batch} lr{lr:g} wd{decay:g}": {
            "client.batch_size": batch,
            "client.lr": lr,
            "client.weight_decay": decay,
        }
        for batch in BATCHES[preset]
        for lr in RATES
        for decay in DECAYS
    }


TEXT: dict[Preset, dict[str, Any]] = {
    "cpu": {"data.name": "pydoc", "client.lr": 0.003, "client.batch_size": 32, "rounds": 2, "engine.threads": 1},
    "gpu": {"model.width": 256, "model.depth": 4, "client.batch_size": 128, "rounds": 30},
    "paper": {"model.width": 512, "model.depth": 6, "client.batch_size": 128, "rounds": 60},
}
"""What the presets differ in where text is learnt."""
GERMAN: dict[str, Any] = {"data.name": "fedsam.experiments.kwon2021.translation:Translation", "model.heads": 4}
GERMAN |= {"model.dropout": 0.3, "task.name": "sequence", "task.extra_metrics": "bleu", "client.lr": 5e-4}
GERMAN |= {"client.beta2": 0.98, "client.weight_decay": 1e-4, "client.schedule": "cosine", "evaluate_every": 10}
RADII: dict[str, dict[str, Any]] = {
    "adamw": {"client.name": "adamw"},
    "sam": {"client.name": "sam", "client.base": "adamw", "client.rho": 0.01},
    "asam": {"client.name": "asam", "client.base": "adamw", "client.eta": 0.0, "client.rho": 0.05},
}


def text(preset: Preset) -> dict[str, dict[str, Any]]:
    """AdamW, and SAM and ASAM around it, on text: translation, or in `cpu` Python's documentation."""
    before, own = ("pydoc", {}) if preset == "cpu" else ("translation", GERMAN)
    common = {"data.clients": 1, "data.partition": "iid", "cohort": 1, "seed": 1, "client.epochs": 1}
    common |= {"evaluate_every": 1, "model.name": "transformer"} | own | TEXT[preset]
    return {f"{before} {name}": common | keys for name, keys in RADII.items()}


def runs(preset: Preset) -> dict[str, Run]:
    """Optimisers on residual networks, optimisers against label noise, the grid, and optimisers on text."""
    keys = small() if preset == "cpu" else large(preset)
    common, rho = ALL | keys[""], radii(preset)
    found: dict[str, dict[str, Any]] = {}

    def optimiser(name: str, where: str) -> dict[str, Any]:
        return OPTIMISERS[name] | ({"client.rho": rho[where][name]} if name in rho[where] else {})

    for name in OPTIMISERS:
        for norm in NORMS:
            found[f"{norm} {name}"] = keys[norm] | optimiser(name, "")
        for prefix in PREFIXES[preset][1:]:
            found[f"{prefix}batch {name}"] = keys["batch"] | {"data.name": "cifar100"} | optimiser(name, prefix)
        for share in NOISE[preset]:
            found[f"{noisy(share)} {name}"] = keys["noise"] | {"data.label_noise": share} | optimiser(name, "noise")
    found |= {name: keys["grid"] | own for name, own in grid(preset).items()}
    images = {name: Run.from_keys(common | own) for name, own in found.items()}
    return images | {name: Run.from_keys(own) for name, own in text(preset).items()}
