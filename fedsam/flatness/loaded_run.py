"""A run directory, opened to be measured: the run's models, its data, and its clients' next round.

Nothing is written to the directory. Shapes: P parameters, S numbers of statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from fedsam.engine.loop import Loop, LoopTrainer
from fedsam.engine.train_client import TrainedClient
from fedsam.errors import InputError
from fedsam.federated.round_loop import Simulation
from fedsam.flatness.landscape import Landscape, examples_of
from fedsam.models.batchnorm import NAME as BATCHNORM
from fedsam.params import Weights
from fedsam.rng import stream
from fedsam.runs.checkpoint import Checkpoint
from fedsam.runs.directory import RunDirectory
from fedsam.runs.records import Record
from fedsam.schedule.base import Clock


class _Untouched(RunDirectory):
    """A run directory whose records stay as they are when a checkpoint is restored."""

    def rewind(self, checkpoint: Checkpoint | None, due: Callable[[int], bool]) -> list[Record]:
        return self.kept(checkpoint, due)[0]


class LoadedRun:
    """What a run directory holds.

    Args:
        path: of the run directory.
        device: instead of the run's own; None = the run's.

    Raises:
        InputError: the directory is none, is of another version, was changed, or holds no model yet.
    """

    def __init__(self, path: Path, device: str | None = None) -> None:
        directory, self.run = RunDirectory.open(path)
        checkpoint = directory.load_checkpoint()
        blob = directory.model()
        if checkpoint is None and blob is None:
            raise InputError(
                "", InputError.ABSENT, f"{path} holds neither a model nor a checkpoint yet; let the run go on first"
            )
        self.digest = self.run.digest()
        settings = {field: getattr(self.run.engine, field) for field in Loop.model_fields}
        if self.run.engine.precision == "tf32":
            settings["precision"] = "fp32"
        loop = Loop(**settings | ({"device": device} if device else {}))
        self.simulation = Simulation(self.run.replace(engine=loop))
        self.context, self.federation = self.simulation.context, self.simulation.federation
        self.whole = checkpoint is not None
        """Whether there is a checkpoint, without which the raw global model and the server's state are not known."""
        self.simulation.directory = _Untouched(path, directory.description)
        self.simulation.restore(checkpoint)
        self.round = checkpoint.round if checkpoint else self.run.rounds
        simulation = self.simulation
        self.raw = simulation.statistics.of(simulation.theta_P, simulation.theta_P)
        served_P = self.run.average.served(simulation.theta_P, simulation.average)
        self.averaged = self.whole and served_P is not simulation.theta_P
        self.served = (
            self._loaded(path, blob) if blob is not None else simulation.statistics.of(served_P, simulation.theta_P)
        )

    def _loaded(self, path: Path, blob: bytes) -> Weights:
        import safetensors
        import safetensors.torch

        context, norms = self.context, self.context.batchnorms
        try:
            state = safetensors.torch.load(blob)
            theta_P = context.layout.flatten(state).to(context.device, context.dtype)
            statistics = (norms.vector(state, theta_P),) if norms else ()
        except (safetensors.SafetensorError, InputError, KeyError) as error:
            raise InputError(
                "", InputError.ABSENT, f"{path / 'model.safetensors'} is not this run's model ({error}); remove it"
            ) from None
        return Weights(theta_P, statistics)

    def landscape(self, images: int, model: Weights, clients: Sequence[int] | None = None) -> Landscape:
        """The loss on at most so many training examples: of all clients, or of these.

        Args:
            model: whose statistics of batch normalisation are used.
        """
        split = examples_of(self.federation, self.run.seed, images, clients)
        batch = 128 if self.context.convolutional else 512
        return Landscape(self.context, split.inputs, split.targets, model.statistics, batch)

    def clients(self, count: int) -> list[int]:
        """Clients with examples, those that come first in a keyed order; ascending."""
        order = stream(self.run.seed, "geometry clients").permutation(self.federation.clients)
        sizes = self.federation.sizes(order.tolist())
        return sorted(order[sizes > 0][:count].tolist())

    @property
    def lr(self) -> float:
        """The clients' learning rate in the run's next round; after the last one the schedule stays where it was."""
        clock, local = self.simulation.clock(), self.run.client.base_optimizer
        last = Clock(min(clock.round, clock.rounds - 1), clock.rounds)
        return self.run.average.lr(local.schedule.lr(local.lr, last), clock)

    def trained(self, clients: Sequence[int]) -> list[Weights]:
        """These clients after the run's next round, trained from the raw global model: batches and augmentation are
        keyed by that round. Arithmetic is that of the run, but fp32 for tf32.
        """
        simulation, run = self.simulation, self.run
        sent_P = run.server.sent(simulation.theta_P, simulation.server)
        trainer = simulation.trainer
        assert isinstance(trainer, LoopTrainer)
        found = []
        for client in clients:
            order = simulation.order_of(simulation.done, self.lr, [client], np.ones(1))
            store, (plan,) = self.context.plan(self.federation, order)
            done = trainer.one(sent_P, self.context.store(store), plan, order)
            found.append(Weights(done.theta_P, self._statistics(done)))
        return found

    def _statistics(self, done: TrainedClient) -> tuple[Tensor, ...]:
        norms, averaged_S = self.context.batchnorms, done.uploads.get(BATCHNORM)
        if norms is None:
            return ()
        return (norms.initial(done.theta_P) + done.client_state[BATCHNORM] if averaged_S is None else averaged_S,)
