"""What clients would make of a model: a round of local training of which nothing is kept.

Shapes: K clients, P parameters, S numbers of statistics.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from fedsam.algorithm.client_hooks import State
from fedsam.algorithm.strategy import Strategy
from fedsam.engine.base import Trainer
from fedsam.engine.cohort import default_block
from fedsam.engine.messages import Order, Trained
from fedsam.errors import InputError, RunError
from fedsam.models.batchnorm import NAME as BATCHNORM
from fedsam.params import Weights

log = logging.getLogger("fedsam")

Adapted = tuple[int, Weights]
"""A client, its weights [P], and the statistics [S] of its batch normalisation, if there is any."""


@dataclass(frozen=True)
class LocalAdaptation:
    """Trains clients from a model as the run's engine would have in a round.

    Args:
        trainer: of the run.
        server: the algorithm.
        state: of the server.
        order: what some clients with so many examples are asked for.
    """

    trainer: Trainer
    server: Strategy
    state: State
    order: Callable[[list[int], np.ndarray], Order]

    def __call__(self, ids: Sequence[int], weights: Weights) -> Iterator[Adapted]:
        """Each client after its training; clients without training examples and those that fail are left out.

        Args:
            ids: the clients.
            weights: the model they start from, by way of what the algorithm sends of it.
        """
        sizes_K = self.trainer.sizes(ids)
        able = [(client, int(n)) for client, n in zip(ids, sizes_K, strict=True) if n]
        sent_P = self.server.sent(weights.theta_P, self.state)
        # where statistics are averaged a block tells but their sum, so that a client has to be a block of its own
        block = 1 if self._averaged else default_block(len(weights.theta_P))
        for begin in range(0, len(able), block):
            part_ids, part_sizes = zip(*able[begin : begin + block], strict=True)
            order = self.order(list(part_ids), np.array(part_sizes))
            if self._averaged:
                order = replace(order, sent={**order.sent, BATCHNORM: weights.statistics[0]})
            for trained in self.trainer.train(sent_P, order):
                yield from self._each(trained, sent_P, weights.statistics)

    @property
    def _averaged(self) -> bool:
        context = self.trainer.context
        return context.batchnorms is not None and context.strategy.batchnorm == "average"

    def _each(self, trained: Trained, sent_P: Tensor, own: tuple[Tensor, ...]) -> Iterator[Adapted]:
        norms = self.trainer.context.batchnorms
        for failure in trained.failed:
            log.warning("client %d could not be trained for its evaluation: %s", failure.client, failure.error)
        for row, client in enumerate(trained.ids):
            if norms is not None and self._averaged:
                own = (norms.whole(trained.uploads[BATCHNORM]),)
            elif norms is not None:
                own = (norms.initial(sent_P) + trained.client_state[BATCHNORM][row],)
            kept = {name: each_KP[row] for name, each_KP in trained.client_state.items()}
            yield client, Weights(self._own(sent_P + trained.update_JP[row], kept), own)

    def before(self, ids: Sequence[int], weights: Weights) -> Iterator[Adapted]:
        """Each client's own model without further training; nothing where all clients have the same.

        Raises:
            RunError: they lie elsewhere.
        """
        if not self.server.personal:
            return
        if self.trainer.keeps_client_state:
            raise RunError("clients' own models are at Flower's nodes; another engine can measure them")
        norms = self.trainer.context.batchnorms
        for client in ids:
            rows = self.order([client], np.ones(1)).client_state
            kept = {name: each_KP[0].to(weights.theta_P.device) for name, each_KP in rows.items()}
            statistics = weights.statistics
            if norms is not None and BATCHNORM in kept and bool(kept[BATCHNORM].any()):  # not so before its first round
                statistics = (norms.initial(weights.theta_P) + kept[BATCHNORM],)
            yield client, Weights(self._own(weights.theta_P, kept), statistics)

    def _own(self, theta_P: Tensor, kept: State) -> Tensor:
        return self.server.own(theta_P, kept, self.trainer.context.layout)


def check_adaptation(trainer: Trainer, every: int) -> None:
    """Refuse trials where they would change the run: where clients keep vectors out of reach. The engine is stopped.

    Raises:
        InputError: they do, and trials are asked for.
    """
    if every and trainer.keeps_client_state and trainer.context.client_state:
        trainer.close()
        allowed = "clients of this algorithm keep vectors at Flower's nodes, which a trial would change; set it to 0"
        raise InputError("local.every", every, f"{allowed}, or use another engine")
    strategy, layout = trainer.context.strategy, trainer.context.layout
    if strategy.personal:
        staying = ", ".join(strategy.staying(layout)) or "a part of the model"
        told = f"{staying} ({layout.total - strategy.travelling(layout):,} of {layout.total:,} numbers)"
        also = "" if every else "; data.local_test=0.2 local.every=10 measures the clients' own"
        log.warning(
            "server.name=%s: what stays with each client is %s; test_* are of the global model, in which nobody has"
            " trained it%s",
            *(strategy.name, told, also),
        )
