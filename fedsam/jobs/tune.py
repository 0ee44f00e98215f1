"""`fedsam.tune`: a search for the best settings."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedsam.jobs.keys import keys_of, taken_out
from fedsam.jobs.watched import watched
from fedsam.run import Run
from fedsam.tuning.result import Tuned
from fedsam.tuning.tune import Settings
from fedsam.tuning.tune import tune as tuned


def tune(
    run: Run | None = None,
    keys: Mapping[str, Any] | None = None,
    *,
    search: str = "tpe",
    trials: int | None = None,
    rounds: int | None = None,
    seeds: int = 3,
    workers: int = 1,
    grace: int | None = None,
    address: str | None = None,
    out: Path | str | None = None,
    quiet: bool | None = None,
    stop: threading.Event | None = None,
) -> Tuned:
    """Search for the best settings on held-out training data, then train and test these once; called again, it goes on.

        fedsam.tune(Run(client=SAM()), {"client.rho": "log:1e-3..1", "client.lr": "log:1e-3..0.3"}, trials=40)

    Args:
        run: what all trials have in common.
        keys: dotted keys, which win: ranges are `"a..b"` or `"log:a..b"`, choices lists.
        search: `tpe`, `random`, `grid`, or a `package.module:Class`.
        trials: settings to try; None = 40, for a grid all its points.
        rounds: of a trial; None = the run's.
        seeds: with how many the best settings are trained anew.
        workers: trials at a time; 1 = in this process, more in processes of their own, 0 = one for each GPU or core.
        grace: rounds that every trial is given; None = a tenth.
        address: of a Ray cluster to join, whose machines share the directory.
        out: the directory; None = the same under runs/ for the same settings.
        quiet, stop: as for `simulate`.

    Raises:
        InputError: the settings make no sense, or the directory is another tuning's.
        RunError: every trial failed, or something went wrong with one other than that it diverged.
        Interrupted: it was stopped.
    """
    given = keys_of(run, keys)
    place = taken_out(given, out)
    asked = Settings(given, search=search, trials=trials, rounds=rounds, seeds=seeds, workers=workers, grace=grace)
    with watched(quiet, stop) as (progress, ending):
        return tuned(asked, place, progress, ending, address)
