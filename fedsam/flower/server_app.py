"""The project's ServerApp: the same round loop as everywhere, over Flower's messages."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from flwr.app import Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp

from fedsam.engine.flower import Flower
from fedsam.errors import InputError, RunError
from fedsam.federated.simulate import resume, simulate
from fedsam.flower.names import METRICS, PARTITIONS
from fedsam.flower.settings import OWN, RESUME, run_of
from fedsam.run import Run
from fedsam.runs.directory import RunDirectory, fresh
from fedsam.runs.progress import Progress
from fedsam.runs.result import Result

log = logging.getLogger("fedsam")

ANSWER = 600.0  # seconds for a node to say how many there are

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run what the configuration describes, or go on with the run directory that its `resume` names."""
    with Progress() as progress:
        path = str(context.run_config.get(RESUME, ""))
        if path:
            _, run = RunDirectory.open(Path(path))
            result = resume(Path(path), progress, engine=_over(run, grid))
        else:
            run = _described(grid, context)
            with _placed(run) as out:
                result = simulate(run.replace(engine=_over(run, grid), out=str(out.absolute())), progress)
        _tell(result)


def _over(run: Run, grid: Grid) -> Flower:
    engine = run.engine
    settings = {name: getattr(engine, name) for name in Flower.model_fields if hasattr(engine, name)}
    return Flower(**settings).over(grid)


def _described(grid: Grid, context: Context) -> Run:
    """The run; as many clients as there are nodes, unless the configuration says how many."""
    run = run_of(context.run_config)
    clients = partitions(grid, run.engine.wait if isinstance(run.engine, Flower) else 0.0)
    given = context.run_config.get("data.clients", OWN)
    if clients is not None and given not in (OWN, clients):
        raise InputError("data.clients", given, f"there are {clients} Flower nodes; leave it out, or start as many")
    if clients is not None:
        run = run_of(context.run_config, data__clients=clients)
    return run


def _placed(run: Run) -> AbstractContextManager[Path]:
    return nullcontext(Path(run.out)) if run.out else fresh(Path("runs"), run.title())


def partitions(grid: Grid, wait: float) -> int | None:
    """How many clients the nodes say there are; None if they do not say.

    Raises:
        RunError: no node connects within `wait` seconds, or the first that did does not answer.
    """
    began = time.monotonic()
    while not (nodes := list(grid.get_node_ids())):
        if time.monotonic() - began > wait:
            raise RunError(f"no Flower node connected within {wait:.0f} s; start some, or set engine.wait")
        time.sleep(0.1)
    answers = list(grid.send_and_receive([Message(RecordDict(), nodes[0], MessageType.QUERY)], timeout=ANSWER))
    if not answers:
        raise RunError(f"Flower node {nodes[0]} connected, and has not answered for {ANSWER:.0f} s; see its log")
    (answer,) = answers
    if answer.has_error():
        raise RunError(f"Flower node {nodes[0]} cannot take part: {answer.error.reason}")
    said = answer.content.metric_records[METRICS].get(PARTITIONS)
    return None if said is None else int(said)  # type: ignore[arg-type]


def _tell(result: Result) -> None:
    for name, value in result.summary().items():
        print(f"{name}: {value}", flush=True)
