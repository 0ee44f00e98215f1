"""What trains clients in another process: built from a description, given orders, answering with arrays.

Shapes: K clients of a block, J rows of its updates, P parameters.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch
from torch import nn

from fedsam.algorithm.client_hooks import ClientHooks
from fedsam.data.augment.base import Augment
from fedsam.data.base import Federation
from fedsam.data.images.spec import ImageSpec
from fedsam.engine.base import Engine
from fedsam.engine.context import RunContext, numerics, shared
from fedsam.engine.messages import Failure, Order, Trained
from fedsam.engine.support.allocator import keep_freed_memory
from fedsam.optim.base import ClientOptimizer
from fedsam.params import layout_of


@dataclass(frozen=True)
class Blueprint:
    """A task that can be sent to another process and built there, on another device."""

    module: nn.Module
    spec: ImageSpec
    augment: Augment
    optimizer: ClientOptimizer
    strategy: ClientHooks
    precision: str
    seed: int
    rounds: int

    @classmethod
    def of(cls, context: RunContext) -> Blueprint:
        """What a task consists of."""
        module = copy.deepcopy(context.module).cpu()
        return cls(
            module,
            context.spec,
            context.augment,
            context.optimizer,
            context.strategy,
            context.precision,
            context.seed,
            context.rounds,
        )

    def build(self, device: torch.device) -> RunContext:
        """The task, on this device."""
        module = copy.deepcopy(self.module)
        layout = layout_of(module)
        parts = self.augment, self.optimizer, self.strategy
        return RunContext(module, layout, self.spec, *parts, device, self.precision, self.seed, self.rounds)


@dataclass(frozen=True)
class Packed:
    """A `Trained` block as arrays; without updates where these lie on a board."""

    ids: list[int]
    update_JP: np.ndarray | None
    weight_J: np.ndarray
    weight_K: np.ndarray
    loss_K: np.ndarray
    check_K: np.ndarray
    failed: list[Failure]
    uploads: dict[str, np.ndarray]
    client_state: dict[str, np.ndarray]
    each_KP: np.ndarray | None = None

    @classmethod
    def of(cls, block: Trained) -> Packed:
        """The block's tensors, on the host."""
        tensors = block.update_JP, block.weight_J, block.weight_K, block.loss_K, block.check_K
        update_JP, weight_J, weight_K, loss_K, check_K = (tensor.cpu().numpy() for tensor in tensors)
        uploads, client_state = (
            {name: tensor.cpu().numpy() for name, tensor in held.items()}
            for held in (block.uploads, block.client_state)
        )
        each_KP = None if block.each_KP is None else block.each_KP.cpu().numpy()
        return cls(
            block.ids, update_JP, weight_J, weight_K, loss_K, check_K, block.failed, uploads, client_state, each_KP
        )

    def put_on(self, row_P: np.ndarray) -> Packed:
        """The same with its one row of updates on a board."""
        assert self.update_JP is not None
        row_P[:] = self.update_JP[0]
        return replace(self, update_JP=None)

    def take_from(self, row_P: np.ndarray) -> Packed:
        """The same with a copy of the row on the board, if its updates are there."""
        return replace(self, update_JP=row_P[None].copy()) if self.update_JP is None else self

    def unpack(self, device: torch.device) -> Trained:
        """The block again, on this device."""
        assert self.update_JP is not None
        arrays = self.update_JP, self.weight_J, self.weight_K, self.loss_K, self.check_K
        update_JP, weight_J, weight_K, loss_K, check_K = (shared(array).to(device) for array in arrays)
        uploads, client_state = (
            {name: shared(array).to(device) for name, array in held.items()}
            for held in (self.uploads, self.client_state)
        )
        each_KP = None if self.each_KP is None else shared(self.each_KP).to(device)
        return Trained(
            self.ids, update_JP, weight_J, weight_K, loss_K, check_K, self.failed, uploads, client_state, each_KP
        )


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
        self._numerics = numerics(blueprint.precision)
        self._numerics.__enter__()  # for as long as this process lives
        torch.set_num_threads(threads)
        if device == "cpu":
            keep_freed_memory()
        self.context = blueprint.build(torch.device(device))
        self.trainer = engine.start(self.context, federation)

    def train(self, theta_P: np.ndarray, order: Order) -> list[Packed]:
        """Train the clients of an order; where sums are enough, updates are added up here, to one row."""
        order = replace(order, sent={name: vector_P.to(self.context.device) for name, vector_P in order.sent.items()})
        blocks = self.trainer.train(shared(theta_P).to(self.context.device), order)
        if order.summed:
            return [Packed.of(reduce(Trained.plus, (block.sum(order.each) for block in blocks)))]
        return [Packed.of(block) for block in blocks]
