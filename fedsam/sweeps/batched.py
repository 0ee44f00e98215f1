"""Runs that are trained as one: those of a sweep that differ only in numbers of the client optimiser."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

from fedsam.engine.cohort import L2_CACHE, Cohort
from fedsam.engine.context import numerics
from fedsam.engine.multi_run import HYPERPARAMETERS, MultiRun
from fedsam.errors import FedsamError, Interrupted
from fedsam.federated.build import assemble
from fedsam.run import Run
from fedsam.runs.result import Listener
from fedsam.sweeps.sweep import carry_out

MOST = 64
"""Runs at most that are trained as one: each has a thread of its own."""

Ended = Callable[[int, FedsamError | None], None]


def groups(runs: Sequence[Run], most: int = MOST) -> list[list[int]]:
    """Which runs may be trained as one, as places in `runs`: each in one group, in the order of their first ones.

    Such runs have the same keys but for learning rates, and for `HYPERPARAMETERS` that are on in all of them or in
    none; where they are written to does not matter.

    Args:
        most: runs of a group.
    """
    alike: dict[str, list[int]] = {}
    for place, run in enumerate(runs):
        alike.setdefault(json.dumps(_alike(run), sort_keys=True), []).append(place)
    return [places[begin : begin + most] for places in alike.values() for begin in range(0, len(places), most)]


def _alike(run: Run) -> dict[str, Any]:
    keys = {name: value for name, value in run.keys().items() if name != "out"}
    for name, value in keys.items():
        last = name.rpartition(".")[2]
        if name.startswith("client.") and (last in HYPERPARAMETERS or last == "lr"):
            keys[name] = value if value is None else "on" if value else "off"
    return keys


def carry_out_together(
    runs: Sequence[Run], ended: Ended, listener: Listener | None = None, stop: threading.Event | None = None
) -> None:
    """Finish the runs of a group, as one where the engine works in blocks, else one after the other.

    Args:
        runs: each with its `out`.
        ended: told the place of each run as it ends, and what went wrong if anything did.
        listener: told how many rounds are done, of all runs together.
        stop: once set, all are stopped, and `Interrupted` is raised.

    Raises:
        Interrupted: as said.
        Exception: any error of a run that is not ours.
    """
    rounds = _Rounds(listener or Listener(), len(runs))
    errors: list[BaseException] = []
    with numerics(runs[0].engine.precision):
        try:
            joint = _joint(runs)
        except FedsamError as error:  # of the data that all of them have
            for place in range(len(runs)):
                ended(place, error)
            return

        def one(place: int) -> None:
            failed: FedsamError | None = None
            try:
                try:
                    carry_out(runs[place], rounds.of(place), stop, joint)
                except Interrupted:
                    raise
                except FedsamError as error:
                    failed = error
                ended(place, failed)
            except BaseException as error:  # also of `ended`: a thread's would be lost
                errors.append(error)
            finally:
                if joint:
                    joint.leave()

        if joint is None:
            for place in range(len(runs)):
                one(place)
                if errors:
                    break
        else:
            threads = [threading.Thread(target=one, args=(place,), name=f"run {place}") for place in range(len(runs))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    if errors:
        raise next((error for error in errors if not isinstance(error, Interrupted)), errors[0])


FEWEST = 4  # runs of which a round has to fit into a near cache, for less are slower as one than in turn


def _joint(runs: Sequence[Run]) -> MultiRun | None:
    if len(runs) < 2 or runs[0].engine.graphs:  # what is asked for: a block of several runs is not captured
        return None
    federation, context = assemble(runs[0])
    in_blocks = isinstance(runs[0].engine.choose(context)[0], Cohort)
    few = context.device.type == "cpu" and FEWEST * runs[0].cohort * context.layout.total > L2_CACHE
    return MultiRun(len(runs), federation) if in_blocks and not few else None


class _Rounds:
    """Counts the rounds of several runs, whose threads tell of them as they come."""

    def __init__(self, listener: Listener, runs: int) -> None:
        self.listener, self.done, self.lock = listener, [0] * runs, threading.Lock()
        self.begun = False

    def of(self, place: int) -> Listener:
        """The listener of one run."""
        return _One(self, place)

    def tell(self, place: int, done: int) -> None:
        """A run has done so many rounds."""
        with self.lock:
            self.done[place] = done
            self.listener.round(sum(self.done))


class _One(Listener):
    def __init__(self, rounds: _Rounds, place: int) -> None:
        self.rounds, self.place = rounds, place

    def started(self, run: Run, engine: str, reason: str, done: int) -> None:
        with self.rounds.lock:
            self.rounds.done[self.place] = done
            if not self.rounds.begun:
                self.rounds.begun = True
                self.rounds.listener.started(run, engine, reason, done)

    def round(self, done: int) -> None:
        self.rounds.tell(self.place, done)
