"""`fedsam.study`: sweeps that answer one question."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, overload

from fedsam.errors import InputError
from fedsam.jobs.keys import keys_of, taken_out
from fedsam.jobs.watched import watched
from fedsam.run import Run
from fedsam.sweeps import methods as of_methods
from fedsam.sweeps import studies
from fedsam.sweeps.method_results import Methods
from fedsam.sweeps.studies import Found


@overload
def study(
    run: Run | Literal["heterogeneity"] | None = None,
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
) -> Found: ...
@overload
def study(
    run: Literal["methods"],
    keys: Mapping[str, Any] | None = None,
    *,
    seeds: int = 3,
    trials: int = 4,
    target: float | None = None,
    workers: int | None = None,
    address: str | None = None,
    out: Path | str | None = None,
    quiet: bool | None = None,
    stop: threading.Event | None = None,
) -> Methods: ...
def study(run: Run | str | None = None, keys: Mapping[str, Any] | None = None, **asked: Any) -> Found | Methods:
    """A study by its name, `heterogeneity` or `methods`; with a run or nothing instead, that of heterogeneity.

        fedsam.study(keys={"client.name": ["sgd", "asam"], "data.alpha": [0.1, 1, 100]}, seeds=3).plot()
        fedsam.study("methods", {"server.name": ["fedavg", "scaffold"], "client.name": ["sgd", "sam"]}, trials=6).df

    Args:
        run: the name, or what all settings have in common.
        keys, asked: as for `heterogeneity` and `methods` of this module.

    Raises:
        InputError: there is no such study, or as these do.
        RunError, Interrupted: as these do.
    """
    if isinstance(run, str):
        if run not in STUDIES:
            raise InputError("study", run, f"there are {', '.join(STUDIES)}")
        return STUDIES[run](None, keys, **asked)
    return heterogeneity(run, keys, **asked)


def heterogeneity(
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


def methods(
    run: Run | None = None,
    keys: Mapping[str, Any] | None = None,
    *,
    seeds: int = 3,
    trials: int = 4,
    target: float | None = None,
    workers: int | None = None,
    address: str | None = None,
    out: Path | str | None = None,
    quiet: bool | None = None,
    stop: threading.Event | None = None,
) -> Methods:
    """Which method, for what: every strategy with every client optimiser, searched alike.

    Args:
        run: what all settings have in common.
        keys: dotted keys, which win; `server.name` and `client.name` with the names to compare, all there are without.
        seeds: of the runs in the table.
        trials: values of its own keys that are tried of each pair.
        target: of which rounds and bytes are counted; None = what the first method ends at.
        workers, address, out, quiet, stop: as for `sweep`.

    Raises:
        InputError: the settings cannot be.
        RunError: nothing came to its end.
        Interrupted: it was stopped.
    """
    given = keys_of(run, keys)
    place = taken_out(given, out)
    with watched(quiet, stop) as (progress, ending):
        asked: dict[str, Any] = {"out": place, "workers": workers, "address": address, "target": target}
        return of_methods.study(given, seeds, trials, progress, ending, **asked)


STUDIES: dict[str, Callable[..., Found | Methods]] = {"heterogeneity": heterogeneity, "methods": methods}
