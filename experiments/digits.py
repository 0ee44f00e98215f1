"""The demonstration: sharpness-aware clients on the handwritten digits that scikit-learn carries, in under a minute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedsam.run import Run

COMMON: dict[str, Any] = {
    "data.name": "digits",
    "data.alpha": 0.02,
    "evaluate_every": 1,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "FedAvg": {"client.name": "sgd"},
    "FedSAM": {"client.name": "sam", "client.rho": 0.3},
    "FedASAM": {"client.name": "asam", "client.rho": 0.5},
    "FedASAM + SWA": {"client.name": "asam", "client.rho": 0.5, "average.name": "swa", "average.cycle": 5, "average.lr_end": 1e-3},
}


def settings(overrides: Mapping[str, Any]) -> dict[str, Run]:
    """The four settings, each with these keys changed."""
    return {name: Run.from_keys({**COMMON, **own, **overrides}) for name, own in SETTINGS.items()}
