"""A run from its beginning to its end, and one that is taken up again where it was left.

One process at a time is at work in a run directory, from before the data are loaded until the end.
"""

from __future__ import annotations

import threading
from contextlib import closing, nullcontext
from pathlib import Path

from fedsam.engine.base import Engine
from fedsam.engine.context import numerics
from fedsam.engine.multi_run import MultiRun
from fedsam.federated.round_loop import Simulation
from fedsam.run import Run
from fedsam.runs import environment
from fedsam.runs.directory import RunDirectory, claimed
from fedsam.runs.result import Listener, Result
from fedsam.runs.told import told
from fedsam.storage.lock import locked


def simulate(
    run: Run, listener: Listener | None = None, stop: threading.Event | None = None, joint: MultiRun | None = None
) -> Result:
    """Run a simulation from its beginning.

    Args:
        run: its description; with `run.out` a run directory is written, without it nothing is.
        listener: is told of the progress.
        stop: once set, the round in progress is finished, a checkpoint is written and `Interrupted` is raised.
        joint: of other runs that are trained together with this one.

    Raises:
        InputError: the description cannot be run, or the run directory exists.
        RunError: the loss is no longer finite, memory or disk are full.
        Interrupted: `stop` was set.
    """
    with (
        claimed(Path(run.out)) if run.out else nullcontext(),
        numerics(run.engine.precision),
        closing(Simulation(run, joint)) as simulation,
    ):
        if run.out:
            about = simulation.environment(), simulation.fingerprint(), simulation.measures.splits
            simulation.directory = RunDirectory.create(Path(run.out), run, *about)
            simulation.describe_partition()
        return _carried_out(simulation, listener or Listener(), stop)


def resume(
    path: Path | str,
    listener: Listener | None = None,
    stop: threading.Event | None = None,
    engine: Engine | None = None,
    joint: MultiRun | None = None,
) -> Result:
    """Continue a run from the checkpoint in its directory, to the same bits as if it had never stopped.

    Args:
        path: the run directory.
        listener, stop, joint: as for `simulate`.
        engine: to go on with instead of the run's own; the bits may then differ.

    Raises:
        InputError: the directory or its checkpoint cannot be used.
        Busy: another process is at work in it.
        RunError, Interrupted: as for `simulate`.
    """
    directory, run = RunDirectory.open(Path(path))
    run = run if engine is None else run.replace(engine=engine)
    with locked(directory.path), numerics(run.engine.precision):
        checkpoint = directory.take_up()
        with closing(Simulation(run, joint)) as simulation:
            simulation.directory = directory
            simulation.restore(checkpoint)
            environment.say_differences(directory.environment(), simulation.environment())
            simulation.describe_partition()  # it may have been killed before that, or the file be damaged
            return _carried_out(simulation, listener or Listener(), stop)


def _carried_out(simulation: Simulation, listener: Listener, stop: threading.Event | None) -> Result:
    """Every round that is left, with the run's trackers and callbacks looking on."""
    folder = simulation.directory.path if simulation.directory else None
    with told(simulation.run, listener, folder, simulation.environment(), _report) as listeners:
        result = simulation.go(listeners, stop)
        listeners.finished(result)
    return result


def _report(folder: Path) -> None:
    from fedsam.reports.write import write_report  # loads plotly

    write_report([folder], folder / "report.html")
