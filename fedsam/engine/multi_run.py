"""Several runs trained as one block: settings that differ only in hyperparameters of the client optimiser.

Shapes: M runs in this round, K clients of a block, R = M·K rows, run by run, P parameters.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.config import Component
from fedsam.data.base import Federation
from fedsam.data.plan import ClientPlan
from fedsam.engine.base import Trainer
from fedsam.engine.client_batch import ClientBatch
from fedsam.engine.cohort import L2_CACHE, CohortTrainer, block_of, longest_first
from fedsam.engine.context import DeviceSplit, RunContext
from fedsam.engine.messages import Order, Trained
from fedsam.engine.support.trees import picked
from fedsam.engine.support.upload import numbers
from fedsam.engine.train_client import train_client

log = logging.getLogger("fedsam")

HYPERPARAMETERS = "rho", "eta", "weight_decay", "momentum"
"""Fields of a client optimiser that may differ among runs trained as one; beside the learning rate, which is each
order's."""
ROWS = 1024

C = TypeVar("C", bound=Component)


def hyperparameters_of(part: Component, before: str = "") -> dict[str, float]:
    """The `HYPERPARAMETERS` of a component and of those it holds, by dotted names; what is off is left out."""
    found: dict[str, float] = {}
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Component):
            found |= hyperparameters_of(value, f"{before}{name}.")
        elif name in HYPERPARAMETERS and value:
            found[before + name] = float(value)
    return found


def with_hyperparameters(part: C, numbers: dict[str, Any]) -> C:
    """The component with other values of its `HYPERPARAMETERS`, which may be tensors."""
    own = {name: value for name, value in numbers.items() if "." not in name}
    for held in {name.partition(".")[0] for name in numbers if "." in name}:
        inner = {name.partition(".")[2]: value for name, value in numbers.items() if name.startswith(f"{held}.")}
        own[held] = with_hyperparameters(getattr(part, held), inner)
    return part.model_copy(update=own)


@dataclass
class RunSlot:
    """A run's place among several, and what it asks for in this round."""

    context: RunContext
    theta_P: Tensor
    order: Order


@dataclass
class MultiRun:
    """Brings the rounds of several runs together, each of which goes on in a thread of its own.

    A run that asks for a round waits until all that are still going have asked; those that are least far are trained,
    as one. All runs have the same clients, data and seed, and with them the same batches and draws.

    Args:
        runs: how many.
        federation: the data of all.
    """

    runs: int
    federation: Federation
    _turn: threading.Condition = field(default_factory=threading.Condition)
    _asking: dict[int, RunSlot] = field(default_factory=dict)
    _given: dict[int, list[Trained] | BaseException] = field(default_factory=dict)

    def trainer(self, context: RunContext) -> JointTrainer:
        """For one of the runs."""
        return JointTrainer(context, self)

    @property
    def sharing(self) -> int:
        """How many runs share the time of a round."""
        return max(1, self.runs)

    def leave(self) -> None:
        """A run has ended."""
        with self._turn:
            self.runs -= 1
            self._turn.notify_all()

    def ask(self, seat: RunSlot, train: Callable[[list[RunSlot]], list[list[Trained]]]) -> list[Trained]:
        """A round for one run; whichever thread finds that all have asked trains for all."""
        me = threading.get_ident()
        with self._turn:
            self._asking[me] = seat
            while me not in self._given:
                if len(self._asking) == self.runs:
                    self._serve(train)
                    self._turn.notify_all()
                else:
                    self._turn.wait()
            found = self._given.pop(me)
        if isinstance(found, BaseException):
            raise found
        return found

    def _serve(self, train: Callable[[list[RunSlot]], list[list[Trained]]]) -> None:
        first = min(seat.order.round for seat in self._asking.values())
        due = {who: seat for who, seat in self._asking.items() if seat.order.round == first}
        for who in due:
            del self._asking[who]
        try:
            self._given |= zip(due, train(list(due.values())), strict=True)
        except BaseException as error:
            self._given |= dict.fromkeys(due, error)


class JointTrainer(Trainer):
    """The cohort engine's work, for several runs at once."""

    about = "trained in blocks together with other settings"

    def __init__(self, context: RunContext, joint: MultiRun) -> None:
        super().__init__(context, joint.federation)
        self.joint, self.block = joint, block_of(context)
        self._alone = CohortTrainer(context, joint.federation, self.block)

    def train(self, theta_P: Tensor, order: Order) -> Iterator[Trained]:
        """Train the clients in blocks, those with the most steps first, each as one with those of the other runs."""
        found = self.joint.ask(RunSlot(self.context, theta_P, order), self._together)
        yield from found if found else self._alone.train(theta_P, order)

    def _together(self, seats: list[RunSlot]) -> list[list[Trained]]:
        """For each run its blocks; none where its round has to be trained alone, to find out what is wrong with it."""
        first, on_cpu = seats[0].order, self.context.device.type == "cpu"
        found: list[list[Trained]] = [[] for _ in seats]
        try:
            split, plans = self.context.plan(self.federation, first)
            store = self.context.store(split)
            line = longest_first([len(plan.count_T) for plan in plans])
            for begin in range(0, len(line), self.block):
                rows = line[begin : begin + self.block]
                most = L2_CACHE // self.context.layout.total if on_cpu else self.block
                at_once = max(1, min(ROWS, most) // len(rows))
                for few in range(0, len(seats), at_once):
                    part = [RunSlot(s.context, s.theta_P, s.order.part(rows)) for s in seats[few : few + at_once]]
                    for place, block in enumerate(self._block(store, [plans[row] for row in rows], part), few):
                        found[place].append(block)
        except Exception as error:
            log.warning("round %d: %d settings could not be trained as one: %s", first.round + 1, len(seats), error)
            return [[] for _ in seats]
        return found

    def _block(self, store: DeviceSplit, plans: list[ClientPlan], seats: list[RunSlot]) -> list[Trained]:
        context, clients, orders = self.context, len(plans), [seat.order for seat in seats]
        kind: Any = {"device": context.device, "dtype": context.dtype}
        own_M = [hyperparameters_of(seat.context.optimizer) for seat in seats]

        beside = {
            "steps": np.array([len(plan.count_T) for plan in plans] * len(seats)),
            "weight": np.concatenate([order.weight_K for order in orders]),
            # one number of each run, for each of its clients
            "lr": np.repeat([order.lr for order in orders], clients),
            **{f"own {name}": np.repeat([one[name] for one in own_M], clients) for name in own_M[0]},
        }
        beside = {name: numbers(array_R, context.dtype) for name, array_R in beside.items()}
        batch = ClientBatch.of(plans, store, context.dtype, beside)
        given = {name: sent_R[:, None] for name, sent_R in batch.beside.items()}

        def shared(vectors: Sequence[Tensor]) -> Tensor:
            return torch.stack(list(vectors)).repeat_interleave(clients, dim=0)

        own = copy.copy(context)
        varied = {name: given[f"own {name}"] for name in own_M[0]}
        own.optimizer = with_hyperparameters(context.optimizer, varied)
        kept = {name: torch.cat([order.client_state[name] for order in orders]) for name in orders[0].client_state}
        client = ClientContext(
            sent_P=shared([seat.theta_P for seat in seats]),
            sent={name: shared([order.sent[name] for order in orders]) for name in orders[0].sent},
            state={name: kept_RP.to(**kind) for name, kept_RP in kept.items()},
            steps=given["steps"],
            lr=given["lr"],
            optimizer=own.optimizer,
            clock=context.clock(orders[0]),
        )
        done = train_client(own, store, batch.times(len(seats)).steps(), client, given["weight"])
        begins = range(0, len(seats) * clients, clients)
        parts = [picked(done, slice(begin, begin + clients)) for begin in begins]
        return [self.trained(seat.order, part, seat.theta_P) for seat, part in zip(seats, parts, strict=True)]
