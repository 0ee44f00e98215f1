"""What all clients of a run share: module, data on the device, loss and precision.

Shapes: N examples, B batch, H height, W width, C channels, L classes, P parameters.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional as F  # noqa: N812
from torch.nn.modules.conv import _ConvNd

from fedsam.algorithm.client_hooks import ClientHooks
from fedsam.data.augment.base import Augment
from fedsam.data.base import Federation, Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.plan import ClientPlan, plan_clients
from fedsam.engine.kernels.cnn_cpu import Written
from fedsam.engine.kernels.cnn_im2col import Unfolded
from fedsam.engine.kernels.mlp import Dense
from fedsam.engine.messages import Order
from fedsam.models.batchnorm import NAME as BATCHNORM
from fedsam.models.batchnorm import BatchNorms
from fedsam.models.functional import Network
from fedsam.optim.base import ClientOptimizer
from fedsam.params import Layout
from fedsam.schedule.base import Clock

KEPT = "client "  # before the name of a vector of the client optimiser's state, among those a client keeps
LIMIT = 2**17  # parameters of a model without convolutions whose kernels are still short


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
        augment: of the training batches.
        optimizer: of the clients.
        strategy: the algorithm, of which clients do their half.
        device: where it runs.
        precision: fp32, tf32, bf16 (autocast; parameters and loss stay fp32) or fp64.
        seed: of the run; batches and augmentation draws are keyed by it.
        rounds: of the run.
        keys: of the run, by which another machine can build this task.
    """

    module: nn.Module
    layout: Layout
    spec: ImageSpec
    augment: Augment
    optimizer: ClientOptimizer
    strategy: ClientHooks
    device: torch.device
    precision: str
    seed: int = 0
    rounds: int = 1
    keys: dict[str, Any] = field(default_factory=dict, repr=False)
    _kept: tuple[Split, DeviceSplit] | None = field(default=None, repr=False)
    tried: dict[str, str] = field(default_factory=dict, repr=False)
    """Ways to compute that were tried, and why they do not work; see `fedsam.engine.blocks`."""

    def __post_init__(self) -> None:
        self.module = self.module.to(self.device, self.dtype)
        self.prepare = self.spec.preparation(self.device, self.dtype)
        self.network = Network(self.module, self.layout)
        self.batchnorms: BatchNorms | None = self.network.norms
        self.dense = None if self.precision == "bf16" else Dense.of(self.module, self.layout)
        self.written = Written.of(self.module, self.layout) if self.device.type == "cpu" else None
        self.unfolded = Unfolded.of(self.module, self.layout) if self.device.type == "cuda" else None
        self.takes_rows = self.optimizer.takes_rows() and self.strategy.takes_rows()

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
        """The vectors that a client keeps from round to round, for the strategy, for its optimiser and of its model's
        batch normalisation: how long they are, by name.
        """
        names = *self.strategy.client_state, *(KEPT + name for name in self.optimizer.kept)
        local = self.batchnorms is not None and self.strategy.batchnorm == "local"
        statistics = {BATCHNORM: self.batchnorms.total} if local and self.batchnorms else {}
        return dict.fromkeys(names, self.layout.total) | statistics

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
        if order.steps_K is not None:
            plans = [plan.first(int(steps)) for plan, steps in zip(plans, order.steps_K, strict=True)]
        return store, plans

    def batch(self, images_BHWC: Tensor, labels_B: Tensor, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """A training batch of examples of a store: augmented and normalised; inputs [B, C, H, W] in channels-last
        order, targets [B] or [B, L]. Or a block of batches, with one more dimension, the first.
        """
        if images_BHWC.dim() == 5 and self.augment.changes:
            return vmap(self.batch)(images_BHWC, labels_B, draws)
        inputs_BCHW = self.prepare(self.augment.pixels(images_BHWC, draws))
        return self.augment.inputs(inputs_BCHW, labels_B, self.spec.classes, draws)

    def losses(
        self, theta_P: Tensor, inputs_BCHW: Tensor, targets: Tensor, valid_B: Tensor | None = None, *statistics: Tensor
    ) -> tuple[Tensor, ...]:
        """Cross entropy of each sample in training, [B]; of a model with batch normalisation also its statistics after
        this batch, [S].

        Args:
            valid_B: which samples are valid, for batch normalisation; None = all.
            statistics: [S] before this batch, of a model with batch normalisation.
        """
        if self.batchnorms is None:
            return (self._cross_entropy(theta_P, inputs_BCHW, targets),)
        with self.batchnorms.training(statistics[0], valid_B) as done:
            losses_B = self._cross_entropy(theta_P, inputs_BCHW, targets)
        return losses_B, self.batchnorms.after(done)

    def _cross_entropy(self, theta_P: Tensor, inputs_BCHW: Tensor, targets: Tensor) -> Tensor:
        with self._autocast():
            logits_BL = self.network.trained(theta_P, inputs_BCHW)
        # under vmap `cross_entropy` is decomposed in Python, slowly, and loads torch's symbolic shapes first (1.5 s)
        log_p_BL = F.log_softmax(logits_BL.to(self.dtype), dim=1)
        if targets.is_floating_point():
            return -(targets * log_p_BL).sum(dim=1)
        return -log_p_BL.gather(1, targets[:, None]).squeeze(1)

    def logits(self, theta_P: Tensor, inputs_BCHW: Tensor, *statistics: Tensor) -> Tensor:
        """The model's output in evaluation and in full precision, [B, L].

        Args:
            statistics: [S], of a model with batch normalisation.
        """
        logits: Tensor = self.network.evaluated(theta_P, inputs_BCHW, *statistics)
        return logits

    def _autocast(self) -> AbstractContextManager[object]:
        if self.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16, cache_enabled=False)


def shared(array: np.ndarray) -> Tensor:
    """A tensor on the array's own memory, also where that may only be read, so that nothing must write to it."""
    with warnings.catch_warnings():  # torch has no read-only tensors, and warns of arrays that are
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


@contextmanager
def numerics(precision: str) -> Iterator[None]:
    """Set what torch keeps globally about arithmetic, and put it back: TF32 only if asked for, deterministic kernels,
    number of threads; float32 for new tensors, no autocast
    and no fast path of attention in evaluation, whatever is set around.
    """
    cudnn: Any = torch.backends.cudnn
    matmul, conv = torch.backends.cuda.matmul, cudnn.conv
    before = matmul.fp32_precision, conv.fp32_precision, cudnn.deterministic, cudnn.benchmark
    threads, kind, fast = torch.get_num_threads(), torch.get_default_dtype(), torch.backends.mha.get_fastpath_enabled()
    wanted = "tf32" if precision == "tf32" else "ieee"
    try:
        matmul.fp32_precision, conv.fp32_precision, cudnn.deterministic, cudnn.benchmark = wanted, wanted, True, False
        torch.set_default_dtype(torch.float32)
        torch.backends.mha.set_fastpath_enabled(False)  # other kernels in evaluation, which vmap does not know
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        matmul.fp32_precision, conv.fp32_precision, cudnn.deterministic, cudnn.benchmark = before
        torch.set_num_threads(threads)
        torch.set_default_dtype(kind)
        torch.backends.mha.set_fastpath_enabled(fast)
