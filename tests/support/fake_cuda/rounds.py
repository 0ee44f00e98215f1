"""Whole runs on the fake device: rounds, records, a checkpoint, a resumption, the result."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from fedsam import InputError, Run, resume, simulate
from fedsam.engine.context import numerics
from fedsam.engine.messages import Trained
from fedsam.engine.multi_run import MultiRun, RunSlot
from fedsam.engine.support import cuda_graph
from fedsam.engine.support.room import client_bytes
from fedsam.engine.support.trees import leaves
from fedsam.engine.support.worker import Blueprint, Worker, on_host
from fedsam.errors import Interrupted
from fedsam.federated.build import assemble
from fedsam.federated.round_loop import Simulation
from tests.support.fake_cuda.device import FakeDevice
from tests.support.interrupted import StopAt

SMALL: dict[str, Any] = {
    "client.batch_size": 8,
    "client.epochs": 1,
    "cohort": 4,
    "rounds": 3,
    "evaluate_every": 1,
    "checkpoint_every": 1,
    "engine.device": "cuda",
}


RAGGED: dict[str, Any] = {"data.name": "tests.support.ragged:Ragged", "data.size": 16, "data.channels": 3}
"""Data where a run names none: clients of unequal size."""


def described(keys: dict[str, Any]) -> Run:
    """A run on the device."""
    return Run.from_keys({**SMALL, **({} if "data.name" in keys else RAGGED), **keys})


@dataclass
class Walked:
    """What was seen of a run.

    Args:
        rounds: of each round its launches, kernels, flops, bytes moved, the most bytes it added to the device, copies,
            bytes copied and waits.
        refused: what a capture would not have taken.
        graphs: replays.
        block: clients of one.
        client_bytes: what a client is said to take.
        error: with the traceback, if it broke off.
        told: what the run was refused for.
    """

    rounds: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    graphs: int = 0
    block: int = 0
    client_bytes: int = 0
    error: str = ""
    told: str = ""


class Graph:
    """Stands for a CUDA graph: notes what a capture would refuse; a replay is one launch of all its kernels."""

    device: FakeDevice
    replays = 0

    def __init__(self, work: cuda_graph.Work) -> None:
        notes = self.device.notes
        work()
        notes.capturing = True
        before = notes.kernels, len(notes.each)
        try:
            self.outputs = work()
        finally:
            notes.capturing = False
        self._kernels, self._each = notes.kernels - before[0], notes.each[before[1] :]

    def replay(self) -> None:
        Graph.replays += 1
        notes = self.device.notes
        notes.launches += 1
        notes.kernels += self._kernels
        notes.each += self._each
        notes.flops += sum(flops for flops, _ in self._each)
        notes.moved += sum(moved for _, moved in self._each)


def walk(
    device: FakeDevice, keys: dict[str, Any], settings: dict[str, list[float]] | None = None, shipped: bool = False
) -> Walked:
    """A run of `described`, stopped after its second round and resumed; or several, which differ in numbers, as one.

    Args:
        keys: of all runs.
        settings: the numbers, by key; None = one run.
        shipped: whether its first round is carried out in another process instead.
    """
    found, Graph.device, Graph.replays = Walked(), device, 0
    with TemporaryDirectory() as folder, watched(device, found):
        try:
            if shipped:
                carried_out_elsewhere(keys)
            elif settings is None:
                stopped_and_resumed(keys, Path(folder))
            else:
                with numerics(str(keys.get("engine.precision", "fp32"))):
                    trained_as_one(keys, settings)
        except InputError as error:
            found.told = str(error)
        except Exception:
            found.error = traceback.format_exc()
    found.graphs = Graph.replays
    return found


def stopped_and_resumed(keys: dict[str, Any], folder: Path) -> None:
    """One run."""
    out = str(folder / "run")
    listener = StopAt(2)
    run = described({**keys, "out": out})
    try:
        simulate(run, listener, listener.stop)
    except Interrupted:
        result = resume(out)
        assert len(result.metrics) == run.rounds


class InTurn(MultiRun):
    """Runs trained as one in a single thread, in which alone the device is there."""

    runs_: list[Simulation]

    def ask(self, seat: RunSlot, train: Callable[[list[RunSlot]], list[list[Trained]]]) -> list[Trained]:
        place = next(n for n, one in enumerate(self.runs_) if one.context is seat.context)
        if place == 0:
            orders = [one.order(one.clock(), seat.order.lr) for one in self.runs_]
            slots = [RunSlot(one.context, one.theta_P, order) for one, order in zip(self.runs_, orders, strict=True)]
            self.found = train(slots)
            assert all(self.found), "the runs could not be trained as one"
        return self.found[place]


def trained_as_one(keys: dict[str, Any], settings: dict[str, list[float]]) -> None:
    """Several runs."""
    some = [dict(zip(settings, values, strict=True)) for values in zip(*settings.values(), strict=True)]
    runs = [described({**keys, **each}) for each in some]
    joint = InTurn(len(runs), assemble(runs[0])[0])
    joint.runs_ = [Simulation(run, joint) for run in runs]
    for _ in range(2):
        for one in joint.runs_:
            one.advance()


def carried_out_elsewhere(keys: dict[str, Any]) -> None:
    """An order that is made on the device goes to a process that has none, as to Ray's workers, which have another."""
    with numerics("fp32"):
        simulation = Simulation(described(keys))
        order = simulation.order(simulation.clock(), 0.1)
        assert {one.device.type for one in (*order.sent.values(), *order.client_state.values())} == {"cuda"}
        sent = pickle.loads(pickle.dumps(on_host(order)))
        there = Simulation(described({**keys, "engine.device": "cpu"}))
        worker = Worker(Blueprint.of(there.context), there.federation, there.engine, "cpu", 1)
        (block,) = worker.train(simulation.theta_P.cpu().numpy(), sent)
        assert sorted(block.block.ids) == sent.ids
        assert {one.device.type for one in leaves(block.unpack(simulation.context.device))} == {"cuda"}


@contextmanager
def watched(device: FakeDevice, found: Walked) -> Iterator[None]:
    """Inside, rounds are noted down, and what a round leaves must lie on the device."""
    advance, notes = Simulation.advance, device.notes

    def noted(simulation: Simulation) -> Any:
        notes.begin()
        before = notes.live
        done = advance(simulation)
        found.rounds.append(
            {
                "launches": notes.launches,
                "kernels": notes.kernels,
                "flops": notes.flops,
                "moved": notes.moved,
                "peak": notes.peak - before,
                "copies": dict(notes.copies),
                "copied": dict(notes.copied),
                "waits": dict(notes.waits),
            }
        )
        found.block = getattr(simulation.trainer, "block", 1)
        found.client_bytes = client_bytes(simulation.context)
        for name, count in notes.refused.items():
            found.refused[name] = found.refused.get(name, 0) + count
        state = {"theta": simulation.theta_P, **simulation.server}
        where = {name: one.device.type for name, one in state.items() if one.dim()}
        assert set(where.values()) <= {"cuda"}, f"after a round: {where}"
        return done

    with (
        mock.patch.object(Simulation, "advance", noted),
        mock.patch.object(cuda_graph.Graphs.__init__, "__defaults__", (Graph,)),
    ):
        yield
