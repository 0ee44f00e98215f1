"""`fedsam.simulate` and `fedsam.resume`: one simulation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fedsam.engine.base import Engine
from fedsam.errors import InputError
from fedsam.federated.simulate import resume as go_on
from fedsam.federated.simulate import simulate as begin
from fedsam.jobs.keys import must_be_runs
from fedsam.jobs.watched import Callback, listeners_of, watched
from fedsam.run import Run
from fedsam.runs.directory import RunDirectory
from fedsam.runs.result import Listener, Result, Several


def simulate(
    run: Run,
    listener: Listener | None = None,
    stop: threading.Event | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    quiet: bool | None = None,
) -> Result:
    """Run a simulation from its beginning.

    >>> result = simulate(Run(rounds=2, evaluate_every=1))
    >>> [row["round"] for row in result.rows()]
    [1, 2]

    Args:
        run: its description; with `run.out` a run directory is written, without it nothing is.
        listener: is told of the progress; with it, none is shown unless `quiet` is false.
        stop: once set, the round in progress is finished, a checkpoint is written and `Interrupted` is raised; without
            it, Ctrl-C does the same.
        callbacks: other listeners, or functions that are called with each record.
        quiet: whether to show no progress; None = show it at a terminal and in a notebook.

    Raises:
        InputError: the description cannot be run, or the run directory exists.
        RunError: the loss is no longer finite, memory or disk are full.
        Interrupted: it was stopped.
    """
    must_be_runs(run)
    return _told(partial(begin, run), listener, stop, callbacks, quiet)


def resume(
    path: Path | str,
    listener: Listener | None = None,
    stop: threading.Event | None = None,
    engine: Engine | None = None,
    *,
    run: Run | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool | None = None,
) -> Result:
    """Continue a run from the checkpoint in its directory, to the same bits as if it had never stopped.

    Args:
        path: the run directory.
        listener, stop, callbacks, quiet: as for `simulate`.
        engine: to go on with instead of the run's own; the bits may then differ.
        run: the same description once more, where objects of Python are in it, which no directory holds.

    Raises:
        InputError: the directory or its checkpoint cannot be used.
        Busy: another process is at work in it.
        RunError, Interrupted: as for `simulate`.
    """
    if run is not None:
        _must_be(Path(path), run)
    return _told(partial(go_on, path, engine=engine), listener, stop, callbacks, quiet)


def _must_be(path: Path, run: Run) -> None:
    """Refuse a run that is not the directory's."""
    there = RunDirectory.open(path)[1]
    if there.digest() != run.digest():
        old, new = there.keys(), run.keys()
        names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name) and name != "out"]
        told = f"{path} holds another run, with other values of {', '.join(names[:3])}"
        raise InputError("run", InputError.ABSENT, told)


def _told(
    carry_out: Callable[[Listener, threading.Event | None], Result],
    listener: Listener | None,
    stop: threading.Event | None,
    callbacks: Sequence[Callback],
    quiet: bool | None,
) -> Result:
    own = [*([listener] if listener else []), *listeners_of(callbacks)]
    with watched(True if listener and quiet is None else quiet, stop) as (progress, ending):
        return carry_out(Several([progress, *own]), ending)
