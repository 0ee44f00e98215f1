"""What trains clients in another process: built from a description, given orders, answering with arrays.

Shapes: K clients of a block, J rows of its updates, P parameters.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import torch

from fedsam.data.base import Federation
from fedsam.engine.base import Engine
from fedsam.engine.context import RunContext, numerics, shared
from fedsam.engine.messages import Order, Trained
from fedsam.engine.support.allocator import keep_freed_memory
from fedsam.engine.support.trees import mapped
from fedsam.params import layout_of


@dataclass(frozen=True)
class Blueprint:
    """A task that can be sent to another process and built there, on another device."""

    context: RunContext

    @classmethod
    def of(cls, context: RunContext) -> Blueprint:
        """What a context consists of, with a module of its own on the host."""
        return cls(replace(context, module=copy.deepcopy(context.module).cpu(), device=torch.device("cpu"), keys={}))

    def build(self, device: torch.device) -> RunContext:
        """The context, on this device."""
        module = copy.deepcopy(self.context.module)
        layout = replace(layout_of(module), last=self.context.layout.last)
        return replace(self.context, module=module, layout=layout, device=device)


@dataclass(frozen=True)
class Packed:
    """A `Trained` block on the host, whose tensors are arrays; without updates where these lie in a shared buffer."""

    block: Trained

    @classmethod
    def of(cls, block: Trained) -> Packed:
        """The block's tensors, on the host."""
        return cls(mapped(block, lambda tensor: tensor.cpu().numpy()))

    def put_on(self, row_P: np.ndarray) -> Packed:
        """The same with its one row of updates in a shared buffer."""
        row_P[:] = self.block.update_JP[0]
        return Packed(replace(self.block, update_JP=None))  # type: ignore[arg-type]

    def take_from(self, row_P: np.ndarray) -> Packed:
        """The same with a copy of the row in the buffer, if its updates are there."""
        there = self.block.update_JP is None
        return Packed(replace(self.block, update_JP=row_P[None].copy())) if there else self  # type: ignore[arg-type]

    def unpack(self, device: torch.device) -> Trained:
        """The block again, on this device."""
        return mapped(self.block, lambda array: shared(array).to(device))


def on_host(order: Order) -> Order:
    """The order with arrays in place of what is sent to all clients, and with what they keep on the host: a process
    that sees another GPU cannot read tensors that lie on one.
    """
    sent: dict[str, Any] = {name: vector_P.cpu().numpy() for name, vector_P in order.sent.items()}
    return replace(order, sent=sent, client_state={name: kept.cpu() for name, kept in order.client_state.items()})


class Worker:
    """Trains blocks of clients on one device.

    Args:
        blueprint: of the task.
        federation: the data; arrays that are shared between processes are read where they lie.
        engine: does the work here.
        device: to do it on.
        threads: processor threads.
    """

    def __init__(self, blueprint: Blueprint, federation: Federation, engine: Engine, device: str, threads: int) -> None:
        self._numerics = numerics(blueprint.context.precision)
        self._numerics.__enter__()  # for as long as this process lives
        torch.set_num_threads(threads)
        if device == "cpu":
            keep_freed_memory()
        self.context = blueprint.build(torch.device(device))
        self.trainer = engine.start(self.context, federation)

    def train(self, theta_P: np.ndarray, order: Order) -> list[Packed]:
        """Train the clients of an order that `on_host` made; where sums are enough, updates are added up here, to one
        row.
        """
        arrays: dict[str, Any] = order.sent
        sent = {name: shared(array).to(self.context.device) for name, array in arrays.items()}
        order = replace(order, sent=sent)
        blocks = self.trainer.train(shared(theta_P).to(self.context.device), order)
        if order.summed:
            return [Packed.of(reduce(Trained.plus, (block.sum(order.each) for block in blocks)))]
        return [Packed.of(block) for block in blocks]
