"""Ray Tune at work: trials in processes of their own, on this machine or on a cluster.

What is tried and what is stopped is decided by the ledger; Ray Tune starts processes, hands out what is to be done,
brings what is reported, stops what is to be stopped, and tries again where a process has died.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedsam.border.budget import must_have_cores
from fedsam.border.given import carried, known
from fedsam.cluster.join import LOOK, Cluster, join
from fedsam.cluster.secret import environment
from fedsam.errors import FedsamError, Interrupted, RunError
from fedsam.run import Run
from fedsam.sweeps.sweep import Failed
from fedsam.tuning.ledger import BROKEN, FAILED, TRIAL, Ledger, Report, Trial
from fedsam.tuning.parallel import side_by_side
from fedsam.tuning.trial import follow, written
from fedsam.tuning.workers import Workers

DEATHS = 2  # of a trial's process, after each of which it is begun again from its checkpoint
SETTINGS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # paths in a run's keys are relative to where the command was given
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # nothing is ever restored from it
    "RAY_AIR_NEW_OUTPUT": "0",  # what it prints is not for a user of ours
}


class OnRay(Workers):
    """Runs in processes of their own.

    Args:
        workers: at a time; 0 = one for each GPU, without GPUs one for each core.
        address: of a Ray cluster to join; None = one that is started here.
        stop: once set, no more runs are begun, and those that go on are stopped.
    """

    def __init__(self, workers: int, address: str | None = None, stop: threading.Event | None = None) -> None:
        self.workers, self.address, self.stop = workers, address, stop
        self.cluster: Cluster

    def __enter__(self) -> OnRay:
        """Join the cluster, or start one."""
        self.cluster = join(self.address)
        try:
            self.at_once = workers_of(self.workers)
        except BaseException:
            self.cluster.leave()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Leave it, or stop it."""
        self.cluster.leave()

    def drive(self, ledger: Ledger, run_of: Callable[[Trial], Run], said: Iterable[Any]) -> None:
        """Carry out the trials of a ledger, by Ray Tune."""
        drive(ledger, run_of, ledger.workers, self.cluster, self.stop, carried(said))

    def train(self, runs: Sequence[Run], ended: Callable[[int, list[Failed]], None]) -> None:
        """Carry out runs, as Ray tasks."""
        at_once = min(self.at_once, len(runs))
        side_by_side([[run] for run in runs], at_once, self.address, ended, self.stop)


def drive(
    ledger: Ledger,
    run_of: Callable[[Trial], Run],
    at_once: int,
    cluster: Cluster,
    stop: threading.Event | None = None,
    things: Mapping[str, Any] | None = None,
) -> None:
    """Carry out the trials of a ledger, in a cluster that this process has joined.

    Args:
        ledger: hands them out.
        run_of: a trial's description, with its directory.
        at_once: how many the cluster has room for is divided by this.
        cluster: of which this process is a member.
        stop: once set, no more are begun, and those that go on are stopped; their checkpoints stay.
        things: objects that runs name and that other processes cannot import.

    Raises:
        InputError, RunError: something went wrong with a trial other than that it diverged, or with the cluster.
        Interrupted: `stop` was set.
    """
    settings = {name: os.environ.get(name, value) for name, value in SETTINGS.items()}
    with environment(settings), warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="fedsam-tune-") as folder:
        warnings.simplefilter("ignore")
        from ray import tune

        from fedsam.tuning.adaptors import Book, Silent, scheduler_of, searcher_of, stopper_of

        book = Book(ledger, lambda trial: _asked(run_of(trial), trial), stop)

        def run() -> None:
            try:
                tune.run(
                    tune.with_parameters(_train, things=dict(things)) if things else _train,
                    name="tune",
                    resources_per_trial=_share(at_once),
                    search_alg=searcher_of(book),
                    scheduler=scheduler_of(book),
                    stop=stopper_of(book),
                    num_samples=ledger.number,
                    reuse_actors=True,
                    max_failures=DEATHS,
                    raise_on_failed_trial=False,
                    trial_name_creator=_name,
                    trial_dirname_creator=_name,
                    storage_path=folder,
                    callbacks=[],
                    progress_reporter=Silent(),  # Ray's own clears what a notebook's cell has printed
                    verbose=0,
                )
            except tune.TuneError as error:
                book.broken = book.broken or RunError(f"Ray Tune failed: {str(error).strip().splitlines()[-1]}")

        _watched(run, cluster)
    if book.broken:
        raise book.broken
    if stop is not None and stop.is_set():
        raise Interrupted("stopped; the same command again goes on from the trials' checkpoints")


def _watched(work: Callable[[], None], cluster: Cluster) -> None:
    """Do what calls Ray in a thread, for without its GCS such a call waits until Ray ends the process."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    client = copy_context()  # what may be imported is as it is here
    thread = threading.Thread(target=client.run, args=(run,), name="tune", daemon=True)
    thread.start()
    while thread.is_alive():
        cluster.check()
        thread.join(LOOK)
    if errors:
        raise errors[0]


def _name(trial: Any) -> str:
    return f"trial-{trial.config[TRIAL]:04d}"


def _share(at_once: int) -> dict[str, float]:
    """Of the cluster, for one trial."""
    import ray

    have = ray.cluster_resources()
    gpus, cores = int(have.get("GPU", 0)), int(have.get("CPU", 1))
    return (
        {"cpu": min(1.0, cores / at_once), "gpu": min(1.0, gpus / at_once)}
        if gpus
        else {"cpu": min(1.0, cores / at_once)}
    )


def workers_of(workers: int) -> int:
    """How many trials go on at once; 0 = one for each GPU, without GPUs one for each core.

    Raises:
        InputError: so many processes are too many for the cluster.
    """
    import ray

    have = ray.cluster_resources()
    gpus, cores = int(have.get("GPU", 0)), int(have.get("CPU", 1))
    must_have_cores("workers", workers, cores)
    return workers or gpus or cores


def _asked(run: Run, trial: Trial) -> dict[str, Any]:
    """What goes to the process of a trial."""
    ended = written(Path(str(run.out)))
    return {TRIAL: trial.number, "asked": json.dumps({"keys": run.keys(), "ended": ended})}


def _train(config: dict[str, Any], things: dict[str, Any] | None = None) -> None:
    """In the other process: a trial; Ray ends it by an exception out of `report`."""
    from ray import tune

    def tell(report: Report) -> None:
        tune.report(asdict(report))

    asked = json.loads(config["asked"])
    try:
        with known(things or {}):
            error = follow(Run.from_keys(asked["keys"]), tell, asked["ended"])
        if error:
            tune.report({FAILED: error, "value": 0.0})  # Ray wants the metric in every report
    except FedsamError as error:
        tune.report({BROKEN: " ".join(str(error).split()), "value": 0.0})
