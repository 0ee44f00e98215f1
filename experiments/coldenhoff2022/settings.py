"""The runs of Coldenhoff et al. 2022."""

from __future__ import annotations

from typing import Any

from fedsam.reproduce.base import Preset
from fedsam.run import Run

SEEDS: dict[Preset, int] = {"cpu": 12, "gpu": 3, "paper": 3}

BATCHES: dict[Preset, tuple[int, ...]] = {"cpu": (16, 64, 128), "gpu": (16, 64, 128), "paper": (16, 64, 128)}
TEST_IMAGES: dict[Preset, int] = {"cpu": 397, "gpu": 10_000, "paper": 10_000}
RHO: dict[Preset, tuple[float, float, float]] = {  # SAM; without BatchNorm SAM and ASAM
    "cpu": (0.2, 0.1, 0.5),
    "gpu": (0.05, 0.05, 0.5),
    "paper": (0.05, 0.05, 0.5),
}
WITHOUT = ("plain sam", "plain asam")


ALL: dict[str, Any] = {"data.clients": 1, "data.partition": "iid", "cohort": 1, "client.epochs": 1, "evaluate_every": 1}
ALL |= {"client.weight_decay": 5e-4, "seed": 1}
SMALL = {"data.name": "digits", "data.samples_per_client": 300, "model.name": "resnet8", "model.width": 8}
SMALL |= {"engine.name": "loop", "engine.threads": 1}
LARGE = {"data.name": "cifar10", "model.name": "resnet18_imagenet"}
NORMED: dict[str, Any] = {"data.pixels": "symmetric", "model.norm": "batch"}
PLAIN: dict[str, Any] = {"data.pixels": "unit", "client.batch_size": 128, "client.schedule": "cosine"}
PLAIN |= {"client.momentum": 0.9, "client.persistent": True}


def runs(preset: Preset) -> dict[str, Run]:
    """SAM and ASAM without BatchNorm, SAM like this but with it; SAM and SGD at each batch size."""
    cpu, (rho, plain_rho, adaptive) = preset == "cpu", RHO[preset]
    common = ALL | (SMALL if cpu else LARGE)
    long = NORMED | {"rounds": 60 if cpu else 100, "client.lr": 0.3 if cpu else 0.01}
    plain = PLAIN | {"rounds": 100 if cpu else 200, "client.lr": 0.1 if cpu else 0.01}
    sam = {"client.name": "sam", "client.rho": plain_rho}
    asam = {"client.name": "asam", "client.rho": adaptive, "client.scaling": "all"}
    keys: dict[str, dict[str, Any]] = {
        "plain asam": plain | asam | {"model.norm": "none"},
        "plain sam": plain | sam | {"model.norm": "none"},
        "plain sam batchnorm": plain | sam | {"model.norm": "batch"},
    }
    for size in BATCHES[preset]:
        keys[f"sgd {size}"] = long | {"client.name": "sgd", "client.batch_size": size}
        keys[f"sam {size}"] = long | {"client.name": "sam", "client.rho": rho, "client.batch_size": size}
    return {name: Run.from_keys(common | own) for name, own in keys.items()}
