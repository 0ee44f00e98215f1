"""`fedsam compare`: settings side by side."""

from __future__ import annotations

import json

from fedsam.cli.options import Debug, Json, Keys, Quiet, Seeds, Trust
from fedsam.cli.settings import parse


def compare(
    settings: Keys = None,
    seeds: Seeds = 3,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Settings side by side, on the same partitions and client draws: every combination of keys with several values.

    For example: fedsam compare client.name=sgd,sam,asam average.name=none,swa rounds=100

    Where no key has several values, FedAvg, FedSAM, FedASAM and FedASAM with SWA, to all of which the settings apply.
    For example: fedsam compare data.alpha=0.5 rounds=50
    """
    given = parse(settings or [])
    from fedsam.experiments.digits import settings as demonstration
    from fedsam.runs.progress import Progress, graceful
    from fedsam.sweeps import grid
    from fedsam.sweeps.compare import compare as compare_runs
    from fedsam.sweeps.compare import show

    runs = grid.settings(given) if grid.is_grid(given) else demonstration(given)
    with graceful() as stop, Progress(quiet) as progress:
        comparison = compare_runs(runs, seeds, progress, stop)
    if as_json:
        print(json.dumps(comparison.rows()))
    else:
        show(comparison)
