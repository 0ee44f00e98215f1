"""`fedsam.compare`: settings side by side."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedsam.experiments.digits import settings as demonstration
from fedsam.jobs.keys import keys_of, must_be_runs
from fedsam.jobs.watched import watched
from fedsam.run import Run
from fedsam.sweeps import grid
from fedsam.sweeps.compare import Comparison
from fedsam.sweeps.compare import compare as compare_runs


def compare(
    run: Run | Mapping[str, Run] | None = None,
    keys: Mapping[str, Any] | None = None,
    *,
    seeds: int = 3,
    out: Path | str | None = None,
    quiet: bool | None = None,
    stop: threading.Event | None = None,
) -> Comparison:
    """Settings side by side, on the same partitions and client draws.

        fedsam.compare({"SGD": Run(client=SGD()), "SAM": Run(client=SAM(rho=0.3))}, seeds=3).df
        fedsam.compare(Run(rounds=50), {"client.name": ["sgd", "sam", "asam"]})

    Args:
        run: what they have in common, or the settings themselves by name.
        keys: dotted keys, which win; every combination of those with several values is a setting. Where none has
            several: FedAvg, FedSAM, FedASAM and FedASAM with SWA, to all of which the keys apply.
        seeds: runs of each setting, with seeds from `seed` on.
        out: the directory of runs, tables, curves and report; None = a new one under runs/.
        quiet, stop: as for `simulate`.

    Raises:
        InputError: the settings cannot be, or are not judged by the same metric.
        RunError: a run failed; what the others gave is written.
        Interrupted: it was stopped.
    """
    if isinstance(run, Mapping):
        runs = dict(run)
        must_be_runs(*runs.values())
        runs = {name: each.from_keys(keys_of(each, keys)) for name, each in runs.items()} if keys else runs
    else:
        given = keys_of(run, keys)
        runs = grid.settings(given) if grid.is_grid(given) else demonstration(given)
    with watched(quiet, stop) as (progress, ending):
        return compare_runs(runs, seeds, progress, ending, out=None if out is None else Path(out))
