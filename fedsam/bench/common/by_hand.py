"""FedAvg as one would write it down in PyTorch for one case: the limit that our round is held against.

The same work with nothing around it: modules, `torch.optim.SGD`, and the sharpness-aware steps written out on the
parameters in place. Of the layouts in which images and weights can lie in memory it takes the fastest.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fedsam.bench import wait_for
from fedsam.bench.common.work import MEAN, STD, Work
from fedsam.engine.context import DeviceSplit
from fedsam.rng import stream

PAD = 4  # pixels around an image before it is cropped


@dataclass(frozen=True)
class Layout:
    """Which of a model's inputs and weights lie in channels-last order."""

    name: str
    inputs: bool
    weights: bool

    def module(self, module: nn.Module) -> nn.Module:
        """The module with its weights in this layout."""
        order = torch.channels_last if self.weights else torch.contiguous_format
        found: nn.Module = module.to(memory_format=order)
        return found

    def of(self, inputs: Tensor) -> Tensor:
        """The inputs in this layout."""
        return inputs.contiguous(memory_format=torch.channels_last if self.inputs else torch.contiguous_format)


EAGER = Layout("eager", False, False)
LAYOUTS = (EAGER, Layout("channels-last inputs", True, False), Layout("channels-last", True, True))

Ascent = Callable[[Sequence[str], list[Tensor], list[Tensor]], list[Tensor]]
"""(names, weights, gradients) -> the ascent step, tensor by tensor."""


class HandWritten:
    """Rounds by hand, from the model's keyed initial weights.

    Args:
        work: the round.
        store: all images and labels, on the device.
        algorithm: one step on a batch.
        precision: bf16 is autocast; all else is what torch is set to.
        crop: pad, crop and flip each image.
        layout: of weights and inputs.
    """

    def __init__(
        self,
        work: Work,
        store: DeviceSplit,
        algorithm: Algorithm,
        precision: str = "fp32",
        crop: bool = False,
        layout: Layout = EAGER,
    ) -> None:
        self.work, self.store, self.algorithm, self.crop = work, store, algorithm, crop
        self.device, self.bf16, self.layout = store.targets.device, precision == "bf16", layout
        self.rng = stream(0, "bench by hand")
        self.model = layout.module(work.module().to(self.device))
        self.client = copy.deepcopy(self.model)
        self.names = [name for name, _ in self.client.named_parameters()]
        self.optimizer = torch.optim.SGD(self.client.parameters(), lr=work.lr, weight_decay=work.decay)

    def round(self) -> None:
        """One round of the cohort, their mean taken into the model."""
        total = [torch.zeros_like(p) for p in self.model.parameters()]
        for k in self.rng.choice(self.work.clients, self.work.cohort, replace=False):
            self.train(self.batches(int(k)))
            with torch.no_grad():
                torch._foreach_add_(total, self.weights(), alpha=1 / self.work.cohort)
        with torch.no_grad():
            torch._foreach_copy_(list(self.model.parameters()), total)

    def train(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """One client, from the model."""
        with torch.no_grad():
            torch._foreach_copy_(self.weights(), list(self.model.parameters()))
        self.optimizer = torch.optim.SGD(self.client.parameters(), lr=self.work.lr, weight_decay=self.work.decay)
        for inputs, labels in batches:
            self.algorithm(self, inputs, labels)

    def batches(self, k: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of a client, shuffled."""
        samples = self.work.samples
        order = torch.from_numpy(self.rng.permutation(samples) + k * samples).to(self.device)
        rows, columns = self._cuts(samples) if self.crop else (order, order)
        for begin in range(0, samples, self.work.batch):
            now = slice(begin, begin + self.work.batch)
            images = self.store.inputs[order[now]]
            if self.crop:
                which = torch.arange(len(images), device=self.device)[:, None, None]
                padded = F.pad(images, (0, 0, PAD, PAD, PAD, PAD))
                images = padded[which, rows[now][:, :, None], columns[now][:, None, :]]
            inputs = ((images.float() / 255 - MEAN) / STD).permute(0, 3, 1, 2)
            yield self.layout.of(inputs), self.store.targets[order[now]]

    def _cuts(self, samples: int) -> tuple[Tensor, Tensor]:
        side = np.arange(self.work.size)
        top, left = self.rng.integers(2 * PAD + 1, size=(2, samples, 1))
        flip = self.rng.random((samples, 1)) < 0.5
        columns = np.where(flip, side[::-1], side) + left
        return torch.from_numpy(side + top).to(self.device), torch.from_numpy(columns).to(self.device)

    def gradients(self, inputs: Tensor, labels: Tensor) -> list[Tensor]:
        """Of the mean cross entropy at the client's weights; they are left in `grad` as well."""
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            logits = self.client(inputs)
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        return [p.grad for p in self.client.parameters() if p.grad is not None]

    def weights(self) -> list[Tensor]:
        """The client's parameters."""
        return list(self.client.parameters())


Algorithm = Callable[[HandWritten, Tensor, Tensor], None]


def sgd(hand: HandWritten, inputs: Tensor, labels: Tensor) -> None:
    """A step of plain SGD."""
    hand.gradients(inputs, labels)
    hand.optimizer.step()


def perturbed(hand: HandWritten, inputs: Tensor, labels: Tensor, ascent: Ascent) -> None:
    """Up by `ascent`, a second gradient, back, and a step of SGD."""
    gradients = hand.gradients(inputs, labels)
    with torch.no_grad():
        steps = ascent(hand.names, hand.weights(), gradients)
        torch._foreach_add_(hand.weights(), steps)
    hand.gradients(inputs, labels)
    with torch.no_grad():
        torch._foreach_sub_(hand.weights(), steps)
    hand.optimizer.step()


def lookbehind(
    hand: HandWritten, inputs: Tensor, labels: Tensor, ascent: Ascent, k: int = 2, alpha: float | None = None
) -> None:
    """k steps of ascent, each with a step of descent, and a step of `alpha` towards where these lead; None = by the
    angle between the first and all of them. The gradient of a descent serves for the ascent after it.
    """
    weights, decay, lr = hand.weights(), hand.work.decay, hand.work.lr
    gradients = hand.gradients(inputs, labels)
    with torch.no_grad():
        start = [w.clone() for w in weights]
    first = fast = start
    for i in range(k):
        with torch.no_grad():
            torch._foreach_add_(weights, ascent(hand.names, weights, gradients))
        gradients = hand.gradients(inputs, labels)
        with torch.no_grad():
            down = torch._foreach_add(gradients, fast, alpha=decay)
            fast = list(torch._foreach_sub(fast, down, alpha=lr))
        first = fast if i == 0 else first
    with torch.no_grad():
        whole = list(torch._foreach_sub(fast, start))
        share = adaptive(list(torch._foreach_sub(first, start)), whole) if alpha is None else alpha
        torch._foreach_copy_(weights, torch._foreach_add(start, torch._foreach_mul(whole, share)))


def adaptive(first: list[Tensor], whole: list[Tensor]) -> Tensor:
    """(cos θ + 1) / 2 of two steps."""
    dot: Tensor = sum((a * b).sum() for a, b in zip(first, whole, strict=True))  # type: ignore[assignment]
    return (dot / (_norm(first) * _norm(whole)).clamp(min=1e-30) + 1) / 2


def sam(names: Sequence[str], weights: list[Tensor], gradients: list[Tensor], rho: float = 0.1) -> list[Tensor]:
    """ρ g / ‖g‖."""
    return list(torch._foreach_mul(gradients, rho / (_norm(gradients) + 1e-16)))


def asam(
    names: Sequence[str], weights: list[Tensor], gradients: list[Tensor], rho: float = 0.7, eta: float = 0.2
) -> list[Tensor]:
    """ρ T² g / ‖T g‖, T = |w| + η on tensors whose name contains "weight", 1 elsewhere."""
    pairs = zip(names, weights, strict=True)
    scales = [w.abs().add_(eta) if "weight" in name else torch.ones_like(w) for name, w in pairs]
    scaled = torch._foreach_mul(gradients, scales)
    return list(torch._foreach_mul(torch._foreach_mul(scaled, scales), rho / (_norm(scaled) + 1e-16)))


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))
    return norm


def fastest(work: Work, store: DeviceSplit, precision: str, trials: int = 3) -> Layout:
    """The layout in which a step of SGD takes the least time; the first one for models without convolutions."""
    if not any(p.dim() == 4 for p in work.module().parameters()):
        return EAGER
    times: dict[Layout, float] = {}
    for layout in LAYOUTS:
        hand = HandWritten(work, store, sgd, precision, layout=layout)
        batch, wait = next(hand.batches(0)), wait_for(hand.device)
        taken = []
        for _ in range(trials + 1):
            wait()
            began = time.perf_counter()
            sgd(hand, *batch)
            wait()
            taken.append(time.perf_counter() - began)
        times[layout] = min(taken[1:])
    return min(times, key=times.__getitem__)
