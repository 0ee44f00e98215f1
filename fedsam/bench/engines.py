"""Loop against cohort on models and batches from small to large: does the rule of `engine.name=auto` pick the faster
one?
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fedsam.bench import Row, alternate, wait_for
from fedsam.data.synthetic import Synthetic
from fedsam.engine.context import numerics
from fedsam.federated.round_loop import Simulation
from fedsam.run import Run

GREY = {"channels": 1, "size": 28}
COLOUR = {"channels": 3, "size": 32}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], int, int]] = {  # data, model, batch size, cohort
    "mlp 64, 8x8, batch 8, cohort 5": ({"channels": 1, "size": 8}, {"name": "mlp", "width": 64}, 8, 5),
    "mlp 64, 8x8, batch 8, cohort 50": ({"channels": 1, "size": 8}, {"name": "mlp", "width": 64}, 8, 50),
    "mlp 64, 28x28, batch 10, cohort 10": (GREY, {"name": "mlp", "width": 64}, 10, 10),
    "mlp 400, 28x28, batch 10, cohort 10": (GREY, {"name": "mlp", "width": 400}, 10, 10),
    "mlp 1000, 28x28, batch 50, cohort 10": (GREY, {"name": "mlp", "width": 1000}, 50, 10),
    "mlp 2000, 28x28, batch 50, cohort 5": (GREY, {"name": "mlp", "width": 2000}, 50, 5),
    "cnn 16, 32x32, batch 10, cohort 5": (COLOUR, {"name": "cnn", "channels": 16}, 10, 5),
    "cnn, 32x32, batch 10, cohort 5": (COLOUR, {"name": "cnn"}, 10, 5),
    "cnn, 32x32, batch 50, cohort 5": (COLOUR, {"name": "cnn"}, 50, 5),
    "resnet20, 32x32, batch 10, cohort 2": (COLOUR, {"name": "resnet20"}, 10, 2),
    "resnet18, 32x32, batch 25, cohort 2": (COLOUR, {"name": "resnet18"}, 25, 2),
}


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Both engines in turn, in each case; the note says which one auto picks, and whether that was right."""
    for variant, (data, model, batch, cohort) in CASES.items():
        with numerics("fp32"):
            simulations = {name: _simulation(name, data, model, batch, cohort) for name in ("loop", "cohort", "auto")}
            picked = simulations.pop("auto").engine.name
            parts: dict[str, Callable[[], object]] = {
                name: simulation.advance for name, simulation in simulations.items()
            }
            wait = wait_for(simulations["loop"].context.device)
            seconds = alternate(parts, rounds, wait)
        medians = {name: float(np.median(times)) for name, times in seconds.items()}
        other = next(name for name in medians if name != picked)
        for name, times in seconds.items():
            verdict = (
                f"picked; {medians[other] / medians[picked]:.2f} times as fast as the other" if name == picked else ""
            )
            yield Row(variant, name, "fp32", times, None, verdict)


def _simulation(engine: str, data: dict[str, Any], model: dict[str, Any], batch: int, cohort: int) -> Simulation:
    synthetic = Synthetic(clients=cohort, samples_per_client=50, **data)
    keys = {"client.batch_size": batch, "client.epochs": 1, "engine.name": engine, "cohort": cohort, "rounds": 10**6}
    return Simulation(Run.from_keys({"data": synthetic, "model": model, **keys}))
