"""Runs side by side, as Ray tasks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from fedsam.border.given import carried, known
from fedsam.cluster.join import brief, join
from fedsam.errors import FedsamError, Interrupted
from fedsam.run import Run
from fedsam.sweeps.batched import carry_out_together
from fedsam.sweeps.sweep import Failed


def side_by_side(
    groups: Sequence[Sequence[Run]],
    workers: int,
    address: str | None,
    ended: Callable[[int, list[Failed]], None],
    stop: threading.Event | None = None,
) -> None:
    """Carry out groups of runs that are trained as one, at most `workers` at a time, each in a process of its own with
    one core, or with a share of a GPU where the cluster has some.

    Args:
        groups: runs, each with its `out`.
        workers: at a time; 0 = as many as there are cores, or GPUs.
        address: of a Ray cluster to join; None = start one here and stop it again.
        ended: told the place of each group as it ends, and what went wrong with each of its runs if anything did.
        stop: once set, no more runs are begun, and those that go on are stopped; their checkpoints stay.

    Raises:
        InputError: the cluster cannot be joined.
        RunError: it does not start, or stops working.
        Interrupted: `stop` was set.
    """
    cluster = join(address)
    import ray

    try:
        have = ray.cluster_resources()
        gpus = int(have.get("GPU", 0))
        at_once = workers or gpus or int(have.get("CPU", 1))
        share = {"num_gpus": min(1.0, gpus / at_once)} if gpus else {"num_cpus": 1}
        task = ray.remote(_carry_out).options(**share, max_retries=2)
        things = ray.put(carried(value for runs in groups for run in runs for value in run.keys().values()))
        waiting, going = list(enumerate(groups)), dict[Any, int]()
        while waiting or going:
            while waiting and len(going) < at_once:
                place, runs = waiting.pop(0)
                going[task.remote([run.keys() for run in runs], things)] = place
            done, _ = ray.wait(list(going), num_returns=1, timeout=0.5)
            for ref in done:
                place = going.pop(ref)
                try:
                    ended(place, ray.get(ref))
                except ray.exceptions.RayError as error:
                    cluster.check()
                    died = f"its process died again and again: {brief(error)}"
                    ended(place, [died] * len(groups[place]))
            cluster.check()
            if stop is not None and stop.is_set():
                for ref in going:
                    ray.cancel(ref, force=True)
                raise Interrupted("stopped; the same command again goes on from the runs' checkpoints")
    finally:
        cluster.leave()


def _carry_out(runs: list[dict[str, Any]], things: dict[str, Any]) -> list[Failed]:
    """In the other process: what went wrong with each run, in one line, if anything did.

    Args:
        runs: their keys.
        things: the objects that they name, and that cannot be imported here.
    """
    failed: list[Failed] = [None] * len(runs)

    def ended(place: int, error: FedsamError | None) -> None:
        failed[place] = None if error is None else " ".join(str(error).split())

    with known(things):
        carry_out_together([Run.from_keys(keys) for keys in runs], ended)
    return failed
