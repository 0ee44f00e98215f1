"""The round loop: sample, plan, train, aggregate, update, average, record.

Shapes: K clients of the cohort, P parameters.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fedsam import environment
from fedsam.advice import on_divergence
from fedsam.arrived import Arrived, size_of
from fedsam.assemble import assemble
from fedsam.batchnorm import NAME as BATCHNORM
from fedsam.data.plan import local_steps
from fedsam.diagnostics.base import Updates
from fedsam.engine.base import Engine, Failure, Order
from fedsam.engine.joint import Joint
from fedsam.engine.memory import keep_freed_memory
from fedsam.engine.task import numerics
from fedsam.errors import DivergedError, InputError, Interrupted, RunError, under
from fedsam.measures import Measures
from fedsam.params import named, theta_of
from fedsam.record import Checkpoint, Record, RunDirectory, must_be_free
from fedsam.result import Listener, Result
from fedsam.run import Run
from fedsam.schedule.base import Clock
from fedsam.slots import Slots
from fedsam.statistics import Statistics
from fedsam.strategy import Gathered
from fedsam.system.base import Turnout
from fedsam.system.ledger import Ledger
from fedsam.trial import Trial, check_trial

log = logging.getLogger("fedsam")


def simulate(
    run: Run, listener: Listener | None = None, stop: threading.Event | None = None, joint: Joint | None = None
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
    if run.out:
        must_be_free(Path(run.out))
    with numerics(run.engine.precision), closing(Simulation(run, joint)) as simulation:
        if run.out:
            simulation.directory = RunDirectory.create(Path(run.out), run, simulation.environment())
            simulation.describe_partition()
        return simulation.go(listener or Listener(), stop)


def resume(
    path: Path | str,
    listener: Listener | None = None,
    stop: threading.Event | None = None,
    engine: Engine | None = None,
    joint: Joint | None = None,
) -> Result:
    """Continue a run from the checkpoint in its directory, to the same bits as if it had never stopped.

    Args:
        path: the run directory.
        listener, stop, joint: as for `simulate`.
        engine: to go on with instead of the run's own; the bits may then differ.

    Raises:
        InputError: the directory or its checkpoint cannot be used.
        RunError, Interrupted: as for `simulate`.
    """
    directory, run = RunDirectory.open(Path(path))
    checkpoint = directory.load_checkpoint()
    run = run if engine is None else run.replace(engine=engine)
    with numerics(run.engine.precision), closing(Simulation(run, joint)) as simulation:
        simulation.directory = directory
        simulation.restore(checkpoint)
        differing = environment.differences(directory.environment(), simulation.environment())
        if differing:
            log.warning("going on elsewhere than the run was started, so bits may differ: %s", ", ".join(differing))
        return simulation.go(listener or Listener(), stop)


class Simulation:
    """A run in progress: what changes from round to round, and the parts that change it."""

    def __init__(self, run: Run, joint: Joint | None = None) -> None:
        self.run, self.joint = run, joint
        self.directory: RunDirectory | None = None
        self.federation, self.task = assemble(run, joint.federation if joint else None)
        self.engine: Engine
        self.engine, self.reason = run.engine.choose(self.task)
        if self.task.device.type == "cpu":
            keep_freed_memory()
            torch.set_num_threads(self.engine.thread_count(self.task))
        with under("engine"):
            self.trainer = joint.trainer(self.task) if joint else self.engine.start(self.task, self.federation)
        check_trial(self.trainer, run.local.every)
        self.reason = self.trainer.about or self.reason
        self.theta_P = theta_of(self.task.module)
        self.server = run.server.init(self.theta_P)
        self.statistics = Statistics(self.task, self.federation, run.server.public_images)
        self.measures = Measures(run, self.federation, self.task, self.statistics)
        self.slots = Slots(self.task.slots, self.task.dtype, 2**30 * run.server.state_memory)
        self.average: dict[str, Tensor] = {}
        self.ledger = Ledger(run.system)
        self.updates = Updates()
        self.done = 0
        self.metrics: list[Record] = []
        self.unchecked: list[tuple[int, list[int], Tensor]] = []
        self._count_anew()

    def _count_anew(self) -> None:
        self.loss = torch.zeros((), dtype=torch.float64, device=self.task.device)
        self.failures: list[dict[str, Any]] = []
        self.trained = 0
        self.seconds = 0.0
        self.bytes_up = self.bytes_down = 0

    def environment(self) -> dict[str, Any]:
        """What this run runs on, and the engine that was chosen."""
        return {
            **environment.describe(),
            "engine": self.engine.name,
            "engine_reason": self.reason,
            "device": str(self.task.device),
        }

    def describe_partition(self) -> None:
        """Write down how the data are divided; a client whose data cannot be read is the affair of its round."""
        assert self.directory is not None
        try:
            self.directory.write("partition.json", self.measures.partition())
        except Exception as error:
            log.warning("how the data are divided is not written down: %s", error)

    def close(self) -> None:
        """Stop what the engine started."""
        self.trainer.close()

    def go(self, listener: Listener, stop: threading.Event | None) -> Result:
        """Every round that is left."""
        run = self.run
        listener.started(run, self.engine.name, self.reason, self.done)
        while self.done < run.rounds:
            ids, lr = self.advance()
            listener.round(self.done)
            last = self.done == run.rounds
            due = self.measures.due(self.done)
            stopped = stop is not None and stop.is_set() and not last
            save = last or stopped or (run.checkpoint_every > 0 and self.done % run.checkpoint_every == 0)
            if due or save or self.task.device.type == "cpu" or self.done % 20 == 0:
                self._check_finite()
            if due:
                self._record(ids, lr)
                listener.recorded(self.metrics[-1])
            if save and self.directory:
                self.directory.save_checkpoint(self._checkpoint())
            if stopped:
                where = (
                    f"; continue with: fedsam run --resume {self.directory.path}"
                    if self.directory
                    else " (no run directory, nothing was saved)"
                )
                raise Interrupted(f"stopped after round {self.done} of {run.rounds}{where}")
        return self._finish()

    def advance(self) -> tuple[list[int], float]:
        """One federated round; the ids of the clients that trained and their learning rate."""
        run, clock, began = self.run, self.clock(), time.perf_counter()
        lr = run.average.lr(run.client.bottom.schedule.lr(run.client.bottom.lr, clock), clock)
        turnout, before_P = self.turnout(clock), self.theta_P
        ids = self._train(self.order(clock, lr, turnout), turnout, clock)
        self.average = run.average.update(before_P, self.theta_P, self.average, clock)
        self.done += 1
        self.ledger.take(self.done, turnout, len(ids))
        self.seconds += (time.perf_counter() - began) / (self.joint.sharing if self.joint else 1)
        return ids, lr

    def clock(self) -> Clock:
        """Where the run is."""
        return Clock(self.done, self.run.rounds)

    def turnout(self, clock: Clock) -> Turnout:
        """Which clients this round asks, and which of them deliver; clients without examples are left out."""
        run, local = self.run, self.run.client.bottom
        ids = run.system.sample(run.seed, clock.round, self.federation.clients, run.cohort)
        sizes_K = self.trainer.sizes(ids)
        ids, sizes_K = [client for client, n in zip(ids, sizes_K, strict=True) if n], sizes_K[sizes_K > 0]
        steps_K = local_steps(sizes_K, local.batch_size, local.epochs)
        return run.system.turnout(run.seed, clock.round, ids, sizes_K, steps_K)

    def order(self, clock: Clock, lr: float, turnout: Turnout | None = None) -> Order:
        """Which clients train in this round, and with what weights."""
        turnout, run = turnout or self.turnout(clock), self.run
        ids, sizes_K = turnout.ids, turnout.sizes_K
        weight_K = sizes_K / sizes_K.sum() if ids else sizes_K
        slots = self.slots.rows(ids) if self.slots.names and not self.trainer.keeps_slots else {}
        sent = run.server.broadcast(self.server) | self.statistics.sent()
        each = run.diagnostics.due(clock.round + 1, run.rounds)
        return Order(clock.round, lr, ids, weight_K, run.server.linear, sent, slots, turnout.steps_K, each)

    def _train(self, order: Order, turnout: Turnout, clock: Clock) -> list[int]:
        """Have the clients trained and take the server's step; the ids of the clients that delivered."""
        server, theta_P, arrived, self.updates = self.run.server, self.theta_P, Arrived(self.loss), Updates()
        sent_P = server.sent(theta_P, self.server)
        self.bytes_down += turnout.asked * size_of(sent_P, *order.sent.values())
        if not order.ids:
            return []
        blocks = self._arriving(sent_P, order, arrived)
        if server.linear:
            delta_P = server.aggregate(blocks, theta_P)
            uploads = arrived.means((*server.averaged, BATCHNORM), order)
            if arrived.failed:
                delta_P = delta_P / arrived.share(order)
            gathered = Gathered(uploads, delta_P, len(arrived.ids), self.federation.clients, order.lr)
            self.server = server.absorb(gathered, self.server)
            self.theta_P, self.server = server.update(theta_P, delta_P, self.server, clock)
        else:
            updates = list(blocks)
            uploads = arrived.means((BATCHNORM,), order)
            if arrived.failed:
                updates = [(delta_KP, weight_K / arrived.share(order)) for delta_KP, weight_K in updates]
            self.theta_P, self.server = server.step(theta_P, updates, self.server, clock)
        self.statistics.take(uploads)
        beside = [total for name, total in uploads.items() if name not in server.derived]
        self.bytes_up += len(arrived.ids) * size_of(sent_P, *beside)
        self.loss = self.loss + (arrived.loss / arrived.share(order) if arrived.failed else arrived.loss)
        self.trained += 1
        return sorted(arrived.ids)

    def _arriving(self, sent_P: Tensor, order: Order, arrived: Arrived) -> Iterator[tuple[Tensor, Tensor]]:
        """Each block's updates and their weights; all else that comes is noted on the way."""
        for block in self.trainer.train(sent_P, order):
            for failure in block.failed:
                self._failed(failure, arrived)
            if block.ids:
                arrived.ids += block.ids
                arrived.loss = arrived.loss + torch.dot(block.loss_K, block.weight_K)
                self.unchecked.append((self.done + 1, block.ids, block.check_K))
                for name, total_P in block.uploads.items():
                    arrived.uploads[name] = arrived.uploads[name] + total_P if name in arrived.uploads else total_P
                if order.each:
                    self.updates.add(block.ids, block.rows, block.weight_K)
                if block.slots:
                    self.slots.keep(block.ids, block.slots)
                yield block.update_JP, block.weight_J
        if not arrived.ids:
            raise RunError(f"round {self.done + 1}: no client delivered anything{self._last_good()}")

    def _failed(self, failure: Failure, arrived: Arrived) -> None:
        """Note a client's failure; stop, unless such clients are to be left out."""
        where = f"round {self.done + 1}: client {failure.client}: {failure.error}"
        if self.directory:
            self.directory.append_failure(f"{where}\n{failure.trace}")
        if self.run.engine.on_client_error == "stop" and not failure.lost:
            cure = "engine.on_client_error=skip leaves such clients out of their round"
            error = RunError(f"{where}; {cure}{self._last_good()}")
            error.add_note(failure.trace)
            raise error
        arrived.failed = True
        self.failures.append({"round": self.done + 1, "client": failure.client, "error": failure.error})
        log.warning("%s; the round goes on without it", where)

    def _check_finite(self) -> None:
        """Stop if a client's loss or update is NaN or infinite."""
        for round, ids, sum_K in self.unchecked:
            broken = [client for client, fine in zip(ids, sum_K.isfinite().tolist(), strict=True) if not fine]
            if broken:
                shown = ", ".join(map(str, broken[:10])) + (f" and {len(broken) - 10} more" if len(broken) > 10 else "")
                some = f"client{'s' * (len(broken) > 1)} {shown}"
                cure = on_divergence(self.run)
                raise DivergedError(f"round {round}: loss or update of {some} is not finite; {cure}{self._last_good()}")
        self.unchecked.clear()
        if not bool(self.theta_P.sum().isfinite()):
            cure = on_divergence(self.run, "lower server.lr or client.lr")
            raise DivergedError(f"round {self.done}: the global model is not finite; {cure}{self._last_good()}")

    def _last_good(self) -> str:
        kept = self.directory.load_checkpoint() if self.directory else None
        return (
            f"; the checkpoint of round {kept.round} in {self.directory.path} is kept"
            if kept and self.directory
            else ""
        )

    def _record(self, ids: list[int], lr: float) -> None:
        began = time.perf_counter()
        served_P = self.run.average.served(self.theta_P, self.average)
        record: Record = {
            "round": self.done,
            **self.measures.of(self.done, served_P, self.theta_P, self._trial(lr)),
            "train_loss": float(self.loss) / self.trained if self.trained else None,
            "lr": lr,
            "clients": ids,
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
        }
        if self.run.diagnostics.due(self.done, self.run.rounds):
            record["diagnostics"] = self.run.diagnostics.measure(self.updates)
            self.updates = Updates()
        record |= self.ledger.record(ids)
        if self.failures:
            record["failures"] = self.failures
        record |= {"seconds": self.seconds, "eval_seconds": time.perf_counter() - began}
        self._count_anew()
        self.metrics.append(record)
        if self.directory:
            self.directory.append(record)

    def _trial(self, lr: float) -> Trial:
        return Trial(self.trainer, self.run.server, self.server, self.slots, self.done - 1, lr)

    def _checkpoint(self) -> Checkpoint:
        tensors = {"theta": self.theta_P, **self.statistics.sent()}
        tensors |= {f"server.{name}": tensor for name, tensor in self.server.items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.items()}
        tensors |= {f"slots.{name}": tensor for name, tensor in self.slots.tensors().items()}
        pending = {
            "loss": float(self.loss),
            "trained": self.trained,
            "seconds": self.seconds,
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
            "failures": self.failures,
            **self.ledger.pending(),
        }
        return Checkpoint(self.done, tensors, pending)

    def restore(self, checkpoint: Checkpoint | None) -> None:
        """Go on from a checkpoint; without one, from the beginning."""
        assert self.directory is not None
        self.metrics = self.directory.rewind(checkpoint.round if checkpoint else 0)
        if checkpoint is None:
            return
        if self.slots.names and self.trainer.keeps_slots:
            allowed = f"clients of {self.run.server.name} keep vectors at Flower's nodes, which no checkpoint holds"
            raise InputError("engine.name", self.engine.name, f"{allowed}; use another engine, or start anew")

        def part(group: str, device: torch.device) -> dict[str, Tensor]:
            found = {name: t for name, t in checkpoint.tensors.items() if name.startswith(group)}
            return {name.removeprefix(group): tensor.to(device) for name, tensor in found.items()}

        device = self.task.device
        self.theta_P = checkpoint.tensors["theta"].to(device)
        self.server, self.average = part("server.", device), part("average.", device)
        self.statistics.now_S = checkpoint.tensors.get(BATCHNORM, self.statistics.now_S).to(device)
        self.slots.restore(part("slots.", torch.device("cpu")))
        self.done = checkpoint.round
        pending = checkpoint.pending
        self.loss += pending["loss"]
        self.trained, self.seconds = int(pending["trained"]), pending["seconds"]
        self.bytes_up, self.bytes_down = int(pending["bytes_up"]), int(pending["bytes_down"])
        self.failures = pending.get("failures", [])
        self.ledger.restore(pending)

    def _finish(self) -> Result:
        import safetensors.torch

        served_P = self.run.average.served(self.theta_P, self.average)
        buffers = self.statistics.buffers(served_P, self.theta_P)
        state = {name: tensor.cpu() for name, tensor in named(self.task.module, served_P, buffers).items()}
        blob = safetensors.torch.save(state)
        if self.directory:
            self.directory.save_model(blob)
            if local := self.measures.clients(self.done, served_P, self.theta_P):
                self.directory.write("clients.json", local)
        out = self.directory.path if self.directory else None
        return Result(self.run, self.metrics, self.engine.name, hashlib.sha256(blob).hexdigest(), state, out)
