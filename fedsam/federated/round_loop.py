"""The round loop: sample, plan, train, aggregate, update, average, record.

Shapes: K clients of the cohort, P parameters.
"""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import LOSS
from fedsam.algorithm.strategy import Gathered
from fedsam.engine.base import Engine
from fedsam.engine.messages import Failure, Order
from fedsam.engine.multi_run import MultiRun
from fedsam.engine.support.allocator import keep_freed_memory
from fedsam.engine.support.trees import joined
from fedsam.engine.support.upload import numbers, uploaded
from fedsam.errors import DivergedError, InputError, Interrupted, RunError, under
from fedsam.federated.accumulator import RoundAccumulator, size_of
from fedsam.federated.batchnorm import Statistics
from fedsam.federated.build import assemble
from fedsam.federated.device_state import client_states
from fedsam.federated.divergence import Unchecked
from fedsam.federated.local_adaptation import LocalAdaptation, check_adaptation
from fedsam.federated.private_sum import PrivateSum
from fedsam.federated.turnout import Turnout
from fedsam.measure.base import Updates
from fedsam.measure.client_losses import client_losses
from fedsam.measure.schedule import Measures
from fedsam.models.batchnorm import NAME as BATCHNORM
from fedsam.params import named, theta_of
from fedsam.run import Run
from fedsam.runs import environment
from fedsam.runs.checkpoint import Checkpoint
from fedsam.runs.directory import RunDirectory
from fedsam.runs.fingerprint import check_unchanged, fingerprint_of
from fedsam.runs.records import Record
from fedsam.runs.result import Listener, Result
from fedsam.schedule.base import Clock
from fedsam.system.base import Participation
from fedsam.system.ledger import Ledger
from fedsam.transforms.pipeline import bytes_of

log = logging.getLogger("fedsam")


class Simulation:
    """A run in progress: what changes from round to round, and the parts that change it."""

    def __init__(self, run: Run, joint: MultiRun | None = None) -> None:
        self.run, self.joint = run, joint
        self.directory: RunDirectory | None = None
        for group, part in (("privacy", run.privacy), ("track", run.track)):
            with under(group):
                part.check()
        self.federation, self.context = assemble(run, joint.federation if joint else None)
        self.engine: Engine
        self.engine, self.reason = run.engine.choose(self.context)
        if self.context.device.type == "cpu":
            keep_freed_memory()
            torch.set_num_threads(self.engine.thread_count(self.context))
        with under("engine"):
            self.trainer = joint.trainer(self.context) if joint else self.engine.start(self.context, self.federation)
        check_adaptation(self.trainer, run.local.every)
        self.reason = self.trainer.about or self.reason
        self.theta_P = theta_of(self.context.module)
        self.server = run.server.init(self.theta_P)
        self.statistics = Statistics(self.context, self.federation, run.server.public_images)
        self.measures = Measures(run, self.federation, self.context, self.statistics)
        kept = {} if self.trainer.keeps_client_state else self.context.client_state
        kind = self.context.dtype, 2**30 * run.server.state_memory, self.context.device
        self.client_state = client_states(kept, *kind)
        self.average: dict[str, Tensor] = {}
        self.ledger = Ledger(run.system)
        self.turnout = Turnout(run, self.trainer, self.federation.clients, self.losses)
        self.private = PrivateSum(run, self.federation.clients, self.theta_P)
        self.travelling = run.server.travelling(self.context.layout)
        self.update_bytes = bytes_of(self.context.transforms, self.theta_P[: self.travelling])
        self.done, self.updates = 0, Updates()
        self.metrics: list[Record] = []
        self.unchecked = Unchecked()
        self._count_anew()

    def _count_anew(self) -> None:
        self.loss = torch.zeros((), dtype=torch.float64, device=self.context.device)
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
            "device": str(self.context.device),
        }

    def fingerprint(self) -> dict[str, dict[str, str]]:
        """Of its data and its model, before the first round."""
        return fingerprint_of(self.run, self.federation, self.context)

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
            if due or save or self.context.device.type == "cpu" or self.done % 20 == 0:
                self._check_finite()
            if due:
                self._record(ids, lr)
                listener.recorded(self.metrics[-1])
            if save and self.directory:
                self.directory.save_checkpoint(self._checkpoint())
            if stopped:
                saved = self.directory and f"; continue with: fedsam run --resume {self.directory.path}"
                where = saved or " (no run directory, nothing was saved)"
                raise Interrupted(f"stopped after round {self.done} of {run.rounds}{where}")
        return self._finish()

    def advance(self) -> tuple[list[int], float]:
        """One federated round; the ids of the clients that trained and their learning rate."""
        run, clock, began = self.run, self.clock(), time.perf_counter()
        lr = run.average.lr(run.client.base_optimizer.schedule.lr(run.client.base_optimizer.lr, clock), clock)
        participation, before_P = self.participation(clock), self.theta_P
        if self.federation.ahead and self.trainer.reads:
            self.federation.expect(participation.ids)
            if self.done + 1 < run.rounds and not run.system.sampling.by_loss:
                self.federation.expect(self.participation(Clock(self.done + 1, run.rounds)).ids)
        ids = self._train(self.order(clock, lr, participation), participation, clock)
        self.average = run.average.update(before_P, self.theta_P, self.average, clock)
        self.done += 1
        self.ledger.take(self.done, participation, len(ids))
        self._took(began)
        return ids, lr

    def _took(self, began: float) -> None:
        self.seconds += (time.perf_counter() - began) / (self.joint.sharing if self.joint else 1)

    def clock(self) -> Clock:
        """Where the run is."""
        return Clock(self.done, self.run.rounds)

    def participation(self, clock: Clock) -> Participation:
        """Which clients this round asks, and which of them deliver."""
        return self.turnout.of(clock.round)

    def losses(self, ids: Sequence[int]) -> np.ndarray:
        """The mean losses of the model that is sent, on these clients' training examples, float64 [K]."""
        sent_P = self.run.server.sent(self.theta_P, self.server)
        return client_losses(self.context, self.federation, ids, self.statistics.of(sent_P, sent_P))

    def order(self, clock: Clock, lr: float, participation: Participation | None = None) -> Order:
        """Which clients train in this round, and with what weights."""
        part, run = participation or self.participation(clock), self.run
        each = run.diagnostics.due(clock.round + 1, run.rounds)
        order = self.order_of(clock.round, lr, part.ids, part.weights())
        return replace(order, summed=run.server.linear, steps_K=part.steps_K, each=each, transformed=True)

    def order_of(self, round: int, lr: float, ids: list[int], sizes_K: np.ndarray) -> Order:
        """What some clients are asked for; what they are sent beside the model, and what they keep, is as it is now.

        Args:
            sizes_K: their examples, or whatever else they weigh by.
        """
        sent = self.run.server.broadcast(self.server) | self.statistics.sent() | self.private.sent()
        weight_K = self.private.weights(sizes_K)
        kept = self.client_state.rows(ids)
        if LOSS in self.run.server.client_numbers and not self.trainer.keeps_client_state:
            losses_K = numbers(self.losses(ids), self.context.dtype)
            kept |= uploaded({LOSS: losses_K[:, None]}, self.context.device)
        return Order(round, lr, ids, weight_K, sent=sent, client_state=kept)

    def _train(self, order: Order, participation: Participation, clock: Clock) -> list[int]:
        """Have the clients trained and take the server's step; the ids of the clients that delivered."""
        run, theta_P, arrived, self.updates = self.run, self.theta_P, RoundAccumulator(self.loss), Updates()
        server = run.server
        sent_P = server.sent(theta_P, self.server)
        asked = max(participation.asked, participation.candidates)
        self.bytes_down += asked * size_of(sent_P[: self.travelling], *order.sent.values())
        self.bytes_up += participation.candidates * sent_P.element_size()
        if not order.ids:
            if self.private.active:  # whether anybody was asked is private, too
                delta_P = self.private.take(torch.zeros_like(theta_P), 0, {}, order.round)
                self.theta_P, self.server = server.update(theta_P, delta_P, self.server, clock)
            return []
        blocks = self._arriving(sent_P, order, arrived)
        if server.linear:
            delta_P = server.aggregate(blocks, theta_P)
            uploads = arrived.means((*server.averaged, BATCHNORM), order)
            if arrived.failed:
                delta_P = delta_P / arrived.share(order)
            delta_P = self.private.take(delta_P, len(arrived.ids), uploads, order.round)
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
        derived = () if run.compress.active else server.derived  # of an update that is not compressed
        beside = [total for name, total in uploads.items() if name not in derived]
        self.bytes_up += len(arrived.ids) * (self.update_bytes + size_of(*beside))
        self.loss = self.loss + (arrived.loss / arrived.share(order) if arrived.failed else arrived.loss)
        self.trained += 1
        return sorted(arrived.ids)

    def _arriving(self, sent_P: Tensor, order: Order, arrived: RoundAccumulator) -> Iterator[tuple[Tensor, Tensor]]:
        """Each block's updates and their weights; all else that comes is noted on the way."""
        for block in self.trainer.train(sent_P, order):
            for failure in block.failed:
                self._failed(failure, arrived)
            if block.ids:
                arrived.ids += block.ids
                arrived.loss = arrived.loss + torch.dot(block.loss_K, block.weight_K)
                self.unchecked.add(self.done + 1, block.ids, block.check_K)
                arrived.uploads = joined(arrived.uploads, block.uploads, torch.add)
                if order.each:
                    self.updates.add(block.ids, block.rows, block.weight_K)
                if block.client_state:
                    self.client_state.keep(block.ids, block.client_state)
                yield block.update_JP, block.weight_J
        if not arrived.ids:
            raise RunError(f"round {self.done + 1}: no client delivered anything{self._last_good()}")

    def _failed(self, failure: Failure, arrived: RoundAccumulator) -> None:
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
        began = time.perf_counter()
        try:
            self.unchecked.check(self.run, self.done, self.theta_P)
        except DivergedError as error:
            raise DivergedError(f"{error}{self._last_good()}") from None
        self._took(began)  # a GPU is waited for here, and nowhere else in a round

    def _last_good(self) -> str:
        kept = self.directory.manifest() if self.directory else None
        if not kept or not self.directory:
            return ""
        return f"; the checkpoint of round {kept.round} in {self.directory.path} is kept"

    def _record(self, ids: list[int], lr: float) -> None:
        began = time.perf_counter()
        served_P = self.run.average.served(self.theta_P, self.average)
        try:
            found = self.measures.of(self.done, served_P, self.theta_P, self._trial(lr))
        except DivergedError as error:
            raise DivergedError(f"{error}{self._last_good()}") from None
        train_loss = float(self.loss) / self.trained if self.trained else None
        if train_loss is not None and not math.isfinite(train_loss):
            raise DivergedError(
                f"round {self.done}: the training loss is not finite; lower client.lr{self._last_good()}"
            )
        record: Record = {
            "round": self.done,
            **found,
            "train_loss": train_loss,
            "lr": lr,
            "clients": ids,
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
        }
        if self.run.diagnostics.due(self.done, self.run.rounds):
            record |= self.measures.aside("diagnostics", lambda: self.run.diagnostics.measure(self.updates))
            self.updates = Updates()
        record |= self.private.record(self.done) | self.ledger.record(ids)
        if self.failures:
            record["failures"] = self.failures
        record |= {"seconds": self.seconds, "eval_seconds": time.perf_counter() - began}
        self._count_anew()
        self.metrics.append(record)
        if self.directory:
            self.directory.append(record)

    def _trial(self, lr: float) -> LocalAdaptation:
        return LocalAdaptation(self.trainer, self.run.server, self.server, partial(self.order_of, self.done - 1, lr))

    def _checkpoint(self) -> Checkpoint:
        tensors = {"theta": self.theta_P, **self.statistics.sent()}
        tensors |= {f"server.{name}": tensor for name, tensor in self.server.items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.items()}
        tensors |= {f"privacy.{name}": tensor for name, tensor in self.private.state.items()}
        pending = {
            "loss": float(self.loss),
            "trained": self.trained,
            "seconds": self.seconds,
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
            "failures": self.failures,
            **self.ledger.pending(),
        }
        return Checkpoint.of(self.done, tensors, pending, *self.client_state.kept())

    def restore(self, checkpoint: Checkpoint | None) -> None:
        """Go on from a checkpoint; without one, from the beginning.

        Raises:
            Damaged: it is not this run's, the records do not fit it, or data or model have changed.
        """
        assert self.directory is not None
        path, begun = self.directory.path, checkpoint is not None
        check_unchanged(self.directory.fingerprint(), self.fingerprint(), path, begun)
        if checkpoint and self.context.client_state and self.trainer.keeps_client_state:
            allowed = f"clients of {self.run.server.name} keep vectors at Flower's nodes, which no checkpoint holds"
            raise InputError("engine.name", self.engine.name, f"{allowed}; use another engine, or start anew")
        if checkpoint:
            with checkpoint.fits(path, self.run.rounds):
                self._take(checkpoint)
        self.metrics = self.directory.rewind(checkpoint, self.measures.due)  # last, as it writes

    def _take(self, checkpoint: Checkpoint) -> None:
        device, pending = self.context.device, checkpoint.pending
        self.theta_P = checkpoint.like("theta", self.theta_P)
        if ":" not in self.run.server.name:  # one of the user's own may add to its state
            self.server = {name: checkpoint.like(f"server.{name}", tensor) for name, tensor in self.server.items()}
        else:
            self.server = checkpoint.part("server.", device)
        self.average = checkpoint.part("average.", device)
        self.private.state = {
            name: checkpoint.like(f"privacy.{name}", tensor) for name, tensor in self.private.state.items()
        }
        if self.statistics.sent():
            self.statistics.now_S = checkpoint.like(BATCHNORM, self.statistics.now_S)
        kept = checkpoint.client_state(self.context.client_state, self.federation.clients, self.context.dtype)
        self.client_state.restore(*kept)
        self.done = checkpoint.round
        self.loss += pending["loss"]
        self.trained, self.seconds = pending["trained"], pending["seconds"]
        self.bytes_up, self.bytes_down = pending["bytes_up"], pending["bytes_down"]
        self.failures = pending.get("failures", [])
        self.ledger.restore(pending)
        served_P = self.run.average.served(self.theta_P, self.average)
        if served_P.shape != self.theta_P.shape or served_P.dtype != self.theta_P.dtype:
            raise ValueError(f"its average is {served_P.dtype} {list(served_P.shape)}, unlike the model")
        if self.done < self.run.rounds:  # whether the average can go on
            self.run.average.update(self.theta_P, self.theta_P, self.average, self.clock())

    def _finish(self) -> Result:
        import safetensors.torch

        served_P = self.run.average.served(self.theta_P, self.average)
        buffers = self.statistics.buffers(served_P, self.theta_P)
        state = {name: tensor.cpu() for name, tensor in named(self.context.module, served_P, buffers).items()}
        if self.run.save == "trained":
            state = {name: state[name] for name in (*self.context.layout.names, *buffers)}
        blob = safetensors.torch.save(state)
        if self.directory:
            local = (self.done, served_P, self.theta_P, self._trial(self.run.client.base_optimizer.lr))
            self.directory.finish(blob, self.measures.clients(*local) if self.measures.holds_out else None)
        out = self.directory.path if self.directory else None
        return Result(self.run, self.metrics, self.engine.name, hashlib.sha256(blob).hexdigest(), state, out)
