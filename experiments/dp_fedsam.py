"""Do flat minima stand the noise of privacy better? `python -m fedsam.experiments.dp_fedsam`.

The question of DP-FedSAM (Shi et al., CVPR 2023) on the digits: DP-FedAvg, with SGD on the clients and with SAM, and
the accuracy that growing noise leaves of each. 100 clients of some 14 examples, 20 of them a round, alpha 0.5, 100
rounds, updates clipped to 0.5; the mean of the last 20 evaluations; λ₁ of the loss of 500 training images at the end.
Seeds 0 to 4. SAM's radius is the best of 0.05, 0.1, 0.2 and 0.5 at z = 2 with seed 100; all else is as for SGD. A few
minutes on two cores. With so few clients no epsilon here is one to be proud of: the noise is what is studied.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from fedsam.cli import streams
from fedsam.run import Run
from fedsam.runs.progress import Progress
from fedsam.sweeps.compare import Comparison, compare
from fedsam.sweeps.tables import pipes

COMMON: dict[str, Any] = {
    "data.clients": 100,
    "data.alpha": 0.5,
    "cohort": 20,
    "evaluate_every": 100,
    "evaluate_last": 20,
    "privacy.name": "gaussian",
    "privacy.clip": 0.5,
    "geometry.every": 100,
    "geometry.images": 500,
    "geometry.top": 1,
}
METHODS: dict[str, dict[str, Any]] = {
    "DP-FedAvg": {"client.name": "sgd"},
    "DP-FedSAM": {"client.name": "sam", "client.rho": 0.2},
}
NOISES = 0.0, 1.0, 2.0, 4.0


def settings(out: Path, rounds: int = 100) -> dict[str, Run]:
    """Both methods under each noise multiplier."""
    common = {**COMMON, "rounds": rounds, "geometry.every": rounds, "evaluate_every": rounds, "out": str(out)}
    return {
        f"{name}, z = {noise:g}": Run.from_keys({**common, **own, "privacy.noise_multiplier": noise})
        for noise in NOISES
        for name, own in METHODS.items()
    }


def table(comparison: Comparison) -> str:
    """A line for each noise multiplier, in Markdown: means and sample standard deviations over seeds."""
    rows = {row["setting"]: row for row in comparison.rows()}
    head, lines = ["z", "epsilon", *METHODS, "difference, 95 %", *(f"λ₁ {name}" for name in METHODS)], []
    for noise in NOISES:
        named = [f"{name}, z = {noise:g}" for name in METHODS]
        values = np.array([rows[name]["test_accuracy"] for name in named]) * 100
        last = [[records[-1] for records in comparison.metrics[name].values()] for name in named]
        epsilon = last[0][0].get("epsilon")
        curved = [np.array([record["geometry"]["eigenvalues"][0] for record in records]) for records in last]
        cells = [f"{noise:g}", "∞" if epsilon is None else f"{epsilon:.1f}", *map(spread, values)]
        cells += [difference(values[1] - values[0]), *map(spread, curved)]
        lines.append(cells)
    return "\n".join(pipes(head, lines))


def spread(values: np.ndarray) -> str:
    """Mean and sample standard deviation."""
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")


def difference(values: np.ndarray) -> str:
    """Mean of differences by seed, and how far its 95 % confidence interval reaches."""
    if len(values) < 2:
        return f"{values.mean():+.2f}"
    from scipy.special import stdtrit

    reach = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():+.2f} ± {reach:.2f}"


def main(out: Path, seeds: int = 5, rounds: int = 100) -> Comparison:
    """Run it all, and print the table."""
    with Progress() as progress:
        comparison = compare(settings(out, rounds), seeds, progress)
    print(table(comparison))
    return comparison


if __name__ == "__main__":
    streams.fit()
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/dp-fedsam"))
