"""What a round asks of an engine, and what comes back: orders, trained clients, failures.

A field says how it is cut and joined; `part` and `plus` walk the fields, so that a new one is written once.

Shapes: K clients of a round or a block, J rows of a block's updates, P parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import State
from fedsam.engine.support.trees import joined, picked
from fedsam.params import weighted_sum

ROWS: dict[str, Any] = {"join": lambda one, other: torch.cat([one, other])}
"""Of a field that has a row for each client."""
SUM: dict[str, Any] = {"join": torch.add}
"""Of a field that is a sum over clients."""


@dataclass(frozen=True)
class Order:
    """What a round asks for.

    Args:
        round: its number, from 0.
        lr: the clients' learning rate.
        ids: the clients, each with at least one example.
        weight_K: their shares in the mean, n_k / Σ n, float64.
        summed: whether their weighted sum is enough, so that an engine may add updates up where they are made.
        sent: what clients are sent beside the model.
        client_state: the vectors that each client kept from its last round, [K, P] by name.
        steps_K: how many of its local steps each client takes, the first ones, at least 1; None = all of them.
        each: whether every client's update is wanted as well, also where their sum is enough.
        transformed: whether updates go through the run's privacy mechanism and compression.
    """

    round: int
    lr: float
    ids: list[int] = field(metadata=ROWS)
    weight_K: np.ndarray = field(metadata=ROWS)
    summed: bool = False
    sent: State = field(default_factory=dict)
    client_state: State = field(default_factory=dict, metadata=ROWS)
    steps_K: np.ndarray | None = field(default=None, metadata=ROWS)
    each: bool = False
    transformed: bool = False

    def part(self, rows: Sequence[int]) -> Order:
        """The same for some of the clients; their shares stay those in the whole round."""
        at = list(rows)
        return replace(self, **{name: picked(getattr(self, name), at) for name in _joins(Order)})


@dataclass(frozen=True)
class Failure:
    """A client that did not deliver: its id, what happened in one line, the traceback if there is one, and whether it
    was lost with its machine or connection, which stops no run.
    """

    client: int
    error: str
    trace: str = ""
    lost: bool = False

    @property
    def what(self) -> str:
        """What happened, without where."""
        return self.error.rpartition(" (")[0]

    def after(self, together: Failure) -> Failure:
        """This one, of a second attempt with the client alone, and what went wrong in the first, with others."""
        told = f"{self.error}; before that, as one block with others: {together.error}"
        return replace(self, error=told, trace=f"{together.trace}\n{self.trace}")


@dataclass(frozen=True)
class Trained:
    """A block of clients, after their round.

    Args:
        ids: those that trained.
        update_JP: theta_client − theta_sent of each of them (J = K), or one row, the weighted sum of these.
        weight_J: what the rows are to be multiplied with in the sum over the whole round: shares, or 1 for a sum.
        weight_K: the clients' shares.
        loss_K: each client's mean training loss, over its samples, each at the weights before its step.
        check_K: a number of each client that is NaN or infinite if anything in its loss or update is.
        failed: those that did not.
        uploads: the sums over these clients of what they send beside their updates.
        client_state: the vectors that each of them keeps, [K, P] by name.
        each_KP: the update of each of them, beside their sum, if the order wants it; None = `update_JP` has them.
    """

    ids: list[int] = field(metadata=ROWS)
    update_JP: Tensor = field(metadata=SUM)
    weight_J: Tensor
    weight_K: Tensor = field(metadata=ROWS)
    loss_K: Tensor = field(metadata=ROWS)
    check_K: Tensor = field(metadata=ROWS)
    failed: list[Failure] = field(default_factory=list, metadata=ROWS)
    uploads: State = field(default_factory=dict, metadata=SUM)
    client_state: State = field(default_factory=dict, metadata=ROWS)
    each_KP: Tensor | None = field(default=None, metadata=ROWS)

    @property
    def rows(self) -> Tensor:
        """The update of each client, [K, P]."""
        return self.update_JP if self.each_KP is None else self.each_KP

    def sum(self, each: bool = False) -> Trained:
        """The same with the updates added up: Σ_k weight_k · delta_k.

        Args:
            each: whether to keep every client's update beside the sum.
        """
        total_P = weighted_sum(self.update_JP, self.weight_J)
        each_KP = self.rows if each else None
        return replace(self, update_JP=total_P[None], weight_J=total_P.new_ones(1), each_KP=each_KP)

    def plus(self, other: Trained) -> Trained:
        """Two sums as one."""
        both = {name: joined(getattr(self, name), getattr(other, name), join) for name, join in _joins(Trained).items()}
        return replace(self, **both)


@lru_cache(maxsize=2)
def _joins(record: type[Order] | type[Trained]) -> dict[str, Callable[[Any, Any], Any]]:
    """The fields of a record that have something for each client, and how two of them become one."""
    return {one.name: one.metadata["join"] for one in fields(record) if one.metadata}
