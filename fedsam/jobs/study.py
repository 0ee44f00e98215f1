"""`fedsam.study`: what heterogeneity does to each method."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedsam.jobs.keys import keys_of, taken_out
from fedsam.jobs.watched import watched
from fedsam.run import Run
from fedsam.sweeps import studies
from fedsam.sweeps.studies import Found


def study(
    run: Run | None = None,
    keys: Mapping[str, Any] | None = None,
    *,
    seeds: int = 3,
    workers: int | None = None,
    address: str | None = None,
    out: Path | str | None = None,
    against: str | None = None,
    hessian: bool = False,
    quiet: bool | None = None,
    stop: threading.Event | None = None,
) -> Found:
    """How unlike clients may be: accuracy against their measured divergence, a line for each method.

        fedsam.study(keys={"client.name": ["sgd", "asam"], "data.alpha": [0.1, 1, 100]}, seeds=3).plot()

    Args:
        run: what all settings have in common.
        keys: dotted keys, which win, of those that divide the data one with several values; without any SGD, SAM and
            ASAM on the digits at five values of `data.alpha`.
        seeds, workers, address, out, quiet, stop: as for `sweep`.
        against: js, emd, gini, classes, or a key of the data; None = by what differs.
        hessian: also the largest eigenvalue of the Hessian at the end of each run.

    Raises:
        InputError: the settings cannot be, or there is nothing of the name `against`.
        RunError: runs failed; what the others gave is written.
        Interrupted: it was stopped.
    """
    given = keys_of(run, keys)
    place = taken_out(given, out)
    runs = studies.settings(given, hessian)
    with watched(quiet, stop) as (progress, ending):
        return studies.study(
            runs, seeds, progress, ending, out=place, workers=workers, address=address, against=against
        )
