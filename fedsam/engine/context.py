"""What all clients of a run share: module, task, data on the device and precision.

Shapes: B batch, P parameters, S statistics of batch normalisation.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.modules.conv import _ConvNd

from fedsam.algorithm.client_hooks import ClientHooks
from fedsam.data.augment.base import Augment
from fedsam.data.base import Federation, Split
from fedsam.data.plan import ClientPlan, plan_clients
from fedsam.data.spec import Spec
from fedsam.engine.kernels.autograd import Autograd
from fedsam.engine.kernels.base import Head
from fedsam.engine.kernels.dispatch import kernels_of
from fedsam.engine.messages import Order
from fedsam.engine.support.deterministic import deterministic
from fedsam.models.batchnorm import NAME as BATCHNORM
from fedsam.models.batchnorm import BatchNorms
from fedsam.models.dropout import keys
from fedsam.models.functional import Network
from fedsam.optim.base import ClientOptimizer
from fedsam.params import Layout, Weights
from fedsam.schedule.base import Clock
from fedsam.tasks.base import Task
from fedsam.transforms.pipeline import Transforms

KEPT = "client "  # before the name of a vector of the client optimiser's state, among those a client keeps
LIMIT = 2**17  # parameters of a model without convolutions whose kernels are still short
OUTPUTS = 2**26  # numbers that a model gives in an evaluation at once


@dataclass(frozen=True)
class DeviceSplit:
    """A split on the device."""

    inputs: Tensor
    targets: Tensor


@dataclass
class RunContext:
    """What all clients of a run share.

    Args:
        module: the model; its trainable parameters are replaced by views of theta in every call.
        layout: of those parameters in theta.
        spec: of the data set.
        task: what is learnt.
        augment: of the training batches.
        optimizer: of the clients.
        strategy: the algorithm, of which clients do their half.
        device: where it runs.
        precision: fp32, tf32, bf16 (autocast; parameters and loss stay fp32) or fp64.
        seed: of the run; batches and augmentation draws are keyed by it.
        rounds: of the run.
        keys: of the run, by which another machine can build this task.
        sample: a few examples to try things on, if there are any.
        transforms: of updates where they are made, if there are any.
    """

    module: nn.Module
    layout: Layout
    spec: Spec
    task: Task
    augment: Augment
    optimizer: ClientOptimizer
    strategy: ClientHooks
    device: torch.device
    precision: str
    seed: int = 0
    rounds: int = 1
    keys: dict[str, Any] = field(default_factory=dict, repr=False)
    sample: Split | None = field(default=None, repr=False)
    transforms: Transforms | None = None
    _kept: tuple[Split, DeviceSplit] | None = field(default=None, repr=False)
    tried: dict[str, str] = field(default_factory=dict, repr=False)
    """Ways to compute that were tried, and why they do not work; see `fedsam.engine.blocks`."""

    def __post_init__(self) -> None:
        self.module = self.module.to(self.device, self.dtype)
        self.prepare = self.spec.preparation(self.device, self.dtype)
        self.network = Network(self.module, self.layout)
        self.batchnorms: BatchNorms | None = self.network.norms
        self.kernels = kernels_of(self.network, self.device, self.precision)

    @property
    def convolutional(self) -> bool:
        """Whether the model has convolutions."""
        return any(isinstance(layer, _ConvNd) for layer in self.module.modules())

    @property
    def small(self) -> bool:
        """Whether the model has no convolutions and few parameters, so that its kernels are short."""
        return not self.convolutional and self.layout.total <= LIMIT

    @property
    def client_state(self) -> dict[str, int]:
        """The vectors and numbers that a client keeps from round to round, for the strategy, for its optimiser, of
        compression and of its model's batch normalisation: how long they are, by name.
        """
        names = *self.strategy.client_state, *(KEPT + name for name in self.optimizer.kept)
        names += self.transforms.client_state if self.transforms else ()
        local = self.batchnorms is not None and self.strategy.batchnorm == "local"
        statistics = {BATCHNORM: self.batchnorms.total} if local and self.batchnorms else {}
        numbers = dict.fromkeys(self.strategy.client_numbers, 1)
        return dict.fromkeys(names, self.layout.total) | numbers | statistics

    def at_once(self, most: int) -> int:
        """How many examples are evaluated at once, at most so many: fewer where an output has many numbers, as one for
        each pixel.
        """
        return max(1, min(most, OUTPUTS // math.prod(self.task.output_shape(self.spec))))

    @property
    def dtype(self) -> torch.dtype:
        """The type of parameters and inputs."""
        return torch.float64 if self.precision == "fp64" else torch.float32

    def store(self, split: Split) -> DeviceSplit:
        """The split on the device; the last one asked for is kept there."""
        if self._kept is None or self._kept[0] is not split:
            self._kept = (split, self.place(split))
        return self._kept[1]

    def place(self, split: Split) -> DeviceSplit:
        """The split on the device; on a CPU the same memory. Nothing writes to a store."""
        return DeviceSplit(shared(split.inputs).to(self.device), shared(split.targets).to(self.device))

    def clock(self, order: Order) -> Clock:
        """The round of an order."""
        return Clock(order.round, self.rounds)

    def plan(self, federation: Federation, order: Order) -> tuple[Split, list[ClientPlan]]:
        """The clients' batches and draws in this round, and the store that they point into."""
        local = self.optimizer.base_optimizer
        parts = local.batch_size, local.epochs, self.augment, self.seed, order.round
        draws = type(self.optimizer).draw is not ClientOptimizer.draw
        draw = partial(self.optimizer.draw, shape=self.spec.shape) if draws else None
        store, plans = plan_clients(federation, order.ids, *parts, draw)
        if self.network.draws:
            plans = [replace(p, key_T2=keys(self.seed, order.round, p.client, len(p.count_T))) for p in plans]
        if order.steps_K is not None:
            plans = [plan.first(int(steps)) for plan, steps in zip(plans, order.steps_K, strict=True)]
        return store, plans

    def batch(self, inputs: Tensor, targets: Tensor, draws: dict[str, Tensor], block: bool) -> tuple[Tensor, Tensor]:
        """A training batch of examples of a store, augmented and prepared for the model.

        Args:
            inputs, targets: as they are stored, [B, ...]; of a block of batches [K, B, ...].
            draws: of the augmentation.
            block: whether it is one.
        """
        if block and self.augment.changes:
            return vmap(partial(self.batch, block=False))(inputs, targets, draws)
        inputs, targets = self.augment.stored(inputs, targets, draws)
        return self.augment.prepared(self.prepare(inputs), targets, self.spec, draws)

    def gradient(
        self, theta: Tensor, inputs: Tensor, head: Head, *statistics: Tensor, key: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """(∇L, L) of a mini-batch by theta [P], or of a block's by [K, P], and after them the statistics of batch
        normalisation, if there are any; by the first kernel that takes it.

        Args:
            key: of what the network draws, [2] or [K, 2]; None = it draws nothing.
        """
        if key is not None:
            return self.autograd.gradient(theta, inputs, head, *statistics, key=key)
        for kernel in self.kernels:
            if kernel.takes(theta, head):
                return kernel.gradient(theta, inputs, head, *statistics)
        raise AssertionError("autograd takes everything")

    @property
    def autograd(self) -> Autograd:
        """The kernel of every network, which also gives the gradient by the inputs."""
        kernel = self.kernels[-1]
        assert isinstance(kernel, Autograd)
        return kernel

    def outputs(self, weights: Weights, inputs: Tensor) -> Tensor:
        """The model's output in evaluation and in full precision, [B, ...]."""
        outputs: Tensor = self.network.evaluated(weights.theta_P, inputs, *weights.statistics)
        return outputs

    def initial(self, theta_P: Tensor) -> Weights:
        """Parameters with the statistics of batch normalisation as they are before the first round."""
        return Weights(theta_P, (self.batchnorms.initial(theta_P),) if self.batchnorms else ())


def shared(array: np.ndarray) -> Tensor:
    """A tensor on the array's own memory, also where that may only be read, so that nothing must write to it."""
    with warnings.catch_warnings():  # torch has no read-only tensors, and warns of arrays that are
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


@contextmanager
def numerics(precision: str) -> Iterator[None]:
    """Set what torch keeps globally about arithmetic, and put it back: TF32 only if asked for; deterministic kernels;
    number of threads; float32 for new tensors, no autocast and no fast path of attention in evaluation, whatever is set
    around.
    """
    cudnn: Any = torch.backends.cudnn
    matmul, conv = torch.backends.cuda.matmul, cudnn.conv
    before = matmul.fp32_precision, conv.fp32_precision
    threads, kind, fast = torch.get_num_threads(), torch.get_default_dtype(), torch.backends.mha.get_fastpath_enabled()
    wanted = "tf32" if precision == "tf32" else "ieee"
    try:
        matmul.fp32_precision, conv.fp32_precision = wanted, wanted
        torch.set_default_dtype(torch.float32)
        torch.backends.mha.set_fastpath_enabled(False)  # other kernels in evaluation, which vmap does not know
        with deterministic(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        matmul.fp32_precision, conv.fp32_precision = before
        torch.set_num_threads(threads)
        torch.set_default_dtype(kind)
        torch.backends.mha.set_fastpath_enabled(fast)
