"""The runs that are tortured, one for each kind of state, and when two directories hold the same run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fedsam.run import Run

COMMON: dict[str, Any] = {
    "engine.threads": 1,
    "rounds": 12,
    "evaluate_every": 3,
    "checkpoint_every": 2,
    "data.clients": 10,
    "client.epochs": 1,
    "client.batch_size": 32,
    "cohort": 3,
}
IMAGES = {"data.name": "synthetic", "data.size": 8, "data.samples_per_client": 24, "data.test_samples": 60}

METHODS: dict[str, dict[str, Any]] = {
    "FedASAM + SWA, local tests": {
        "client.name": "asam",
        "average.name": "swa",
        "average.cycle": 2,
        "average.start": 0.5,
        "data.local_test": 0.2,
        "local.every": 4,
    },
    "SCAFFOLD, spilled to a file": {"server.name": "scaffold", "server.state_memory": 0.0},
    "FedAvg": {},
    "FedSMOO": {"client.name": "sam", "server.name": "fedsmoo"},
    "FedDyn": {"server.name": "feddyn"},
    "FedGloSS": {"client.name": "sam", "server.name": "fedgloss"},
    "FedMoSWA + EMA": {"server.name": "fedmoswa", "average.name": "ema"},
    "FedWMSAM": {"server.name": "fedwmsam"},
    "FedAdam, kept momentum, WIMA": {
        "server.name": "fedadam",
        "client.momentum": 0.9,
        "client.persistent": True,
        "average.name": "wima",
        "average.window": 3,
    },
    "ResNet-8, BatchNorm of clients": {
        **IMAGES,
        "model.name": "resnet8",
        "model.width": 4,
        "model.norm": "batch",
        "server.batchnorm": "local",
    },
    "ResNet-8, BatchNorm averaged, SWA": {
        **IMAGES,
        "model.name": "resnet8",
        "model.width": 4,
        "model.norm": "batch",
        "average.name": "swa",
        "average.cycle": 2,
        "average.start": 0.5,
    },
    "unreliable devices": {
        "system.name": "simulated",
        "system.dropout": 0.3,
        "system.work_min": 0.3,
        "system.deadline": 3,
        "system.late": "partial",
        "diagnostics.every": 3,
    },
    "label noise, PGD, Hessian": {
        "data.label_noise": 0.2,
        "attack.name": "pgd",
        "attack.steps": 2,
        "attack_images": 20,
        "geometry.every": 6,
        "geometry.images": 20,
        "geometry.top": 1,
    },
}

TIMES = ("seconds", "eval_seconds")
"""Of a record, what the clock says."""


def described(method: str, out: Path, **changes: Any) -> Run:
    """A run of a dozen rounds, in a fraction of a second."""
    return Run.from_keys({**COMMON, **METHODS[method], "out": str(out), **changes})


def difference(one: Path, other: Path) -> str | None:
    """Which file of two run directories of the same run is another, apart from what the clock says; None = none is."""
    for name in ("model.safetensors", "partition.json", "clients.json"):
        if _bytes(one / name) != _bytes(other / name):
            return f"{name} is another"
    (here,), (there,) = (sorted((path / "checkpoint").glob("*.safetensors")) for path in (one, other))
    if here.name != there.name or here.read_bytes() != there.read_bytes():
        return "the checkpoint is another"
    if _records(one) != _records(other):
        return "metrics.jsonl is another"
    left = sorted(path.name for path in one.rglob(".*"))
    return f"{', '.join(left)} is left" if left else None


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _records(path: Path) -> list[dict[str, Any]]:
    lines = (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in TIMES} for line in lines]
