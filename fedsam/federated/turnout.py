"""Who takes part in a round: the clients that are asked, and those of them that deliver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial

import numpy as np

from fedsam.data.plan import local_steps
from fedsam.engine.base import Trainer
from fedsam.errors import InputError
from fedsam.run import Run
from fedsam.system.base import Participation
from fedsam.system.sampling.base import Population


class Turnout:
    """The turnout of a run's rounds.

    Args:
        run: the description.
        trainer: knows the clients' examples.
        clients: N, all of them.
        losses: the global model's mean losses on these clients' training examples.

    Raises:
        InputError: losses are needed, and clients keep to themselves.
    """

    def __init__(self, run: Run, trainer: Trainer, clients: int, losses: Callable[[Sequence[int]], np.ndarray]) -> None:
        self.run, self.trainer, self.clients, self.losses = run, trainer, clients, losses
        self.sampling = run.system.sampling
        if self.sampling.by_loss and trainer.keeps_client_state:
            allowed = "needs losses of clients that are not asked to train, which Flower's nodes do not tell"
            raise InputError("system.sampling", self.sampling.name, f"{allowed}; use another engine, or sampling")

    def of(self, round: int) -> Participation:
        """Which clients a round, from 0, asks, and which of them deliver; clients without examples are left out."""
        run, local = self.run, self.run.client.base_optimizer
        uniform = partial(run.system.sample, run.seed, round, self.clients, run.cohort)
        drawn = self.sampling.draw(
            Population(run.seed, round, self.clients, run.cohort, uniform, lambda: self._sizes, self.losses)
        )
        sizes_K = self.trainer.sizes(drawn.ids)
        ids, sizes_K = [client for client, n in zip(drawn.ids, sizes_K, strict=True) if n], sizes_K[sizes_K > 0]
        steps_K = local_steps(sizes_K, local.batch_size, local.epochs)
        found = run.system.participation(run.seed, round, ids, sizes_K, steps_K)
        return replace(found, times=drawn.times, candidates=drawn.candidates)

    @cached_property
    def _sizes(self) -> np.ndarray:
        return self.trainer.sizes(range(self.clients))
