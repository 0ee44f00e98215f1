"""A network with batch normalisation, and its runs."""

from __future__ import annotations

from typing import Any

from torch import nn

from fedsam import Run
from tests.support.ragged import Ragged

COUNT = "1.num_batches_tracked"


def net(in_channels: int, classes: int, momentum: float = 0.1) -> nn.Module:
    """Normalised per channel of an image, per feature, and without statistics or weights; momentum 0 means None."""
    kept = momentum or None
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 3, padding=1),
        nn.BatchNorm2d(4, momentum=kept),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 64, 6),
        nn.BatchNorm1d(6, momentum=kept),
        nn.ReLU(),
        nn.BatchNorm1d(6, track_running_stats=False, affine=False),
        nn.Linear(6, classes),
    )


def pooled(in_channels: int, classes: int) -> nn.Module:
    """Normalised by batch and by group, for images of any size."""
    layers = nn.Conv2d(in_channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.GroupNorm(2, 4)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, classes))


def described(engine: str = "loop", **changes: Any) -> Run:
    keys = {
        "data": Ragged(),
        "model.name": f"{__name__}:net",
        "client.name": "sam",
        "client.rho": 0.3,
        "client.lr": 0.05,
        "client.batch_size": 4,
        "client.momentum": 0.5,
        "cohort": 4,
        "rounds": 4,
        "evaluate_every": 2,
        "engine.name": engine,
        "engine.precision": "fp64",
        "engine.threads": 1,
    }
    return Run.from_keys({**keys, **changes})
