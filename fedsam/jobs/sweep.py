"""`fedsam.sweep`: every combination of keys with several values."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedsam.jobs.keys import keys_of, taken_out
from fedsam.jobs.watched import watched
from fedsam.run import Run
from fedsam.sweeps import grid
from fedsam.sweeps.compare import Comparison, compare
from fedsam.sweeps.sweep import default_out


def sweep(
    run: Run | None = None,
    keys: Mapping[str, Any] | None = None,
    *,
    seeds: int = 3,
    workers: int | None = None,
    address: str | None = None,
    apart: bool = False,
    out: Path | str | None = None,
    quiet: bool | None = None,
    stop: threading.Event | None = None,
) -> Comparison:
    """Every combination of keys with several values, paired over seeds; called again, it does what is missing.

        fedsam.sweep(Run(rounds=5), {"client.name": ["sgd", "sam"]}, seeds=2).df

    Args:
        run: what all settings have in common.
        keys: dotted keys, which win; one that has several values has a list of them.
        seeds: runs of each setting, with seeds from `seed` on.
        workers: runs at a time, as Ray tasks; 0 = one for each core or GPU; None = in turn, in this process.
        address: of a Ray cluster to join: host:port, or auto.
        apart: train every run by itself, also those that differ only in numbers.
        out: the directory; None = the same under runs/ for the same settings.
        quiet, stop: as for `simulate`.

    Raises:
        InputError: the settings cannot be, or the directory holds others.
        RunError: a run failed; what the others gave is written.
        Interrupted: it was stopped.
    """
    given = {"engine.threads": "1", **keys_of(run, keys)}
    place = taken_out(given, out)
    runs = grid.settings(given)
    place = place or default_out(runs, seeds)
    with watched(quiet, stop) as (progress, ending):
        return compare(runs, seeds, progress, ending, out=place, workers=workers, address=address, apart=apart)
