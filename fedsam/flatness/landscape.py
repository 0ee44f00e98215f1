"""The loss on a fixed set of examples as a function of theta, with its first two derivatives.

Shapes: N examples, B batch, H height, W width, C channels, L classes, P parameters, K vectors, G points, S numbers of
the statistics of batch normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from fedsam.data.base import Federation, Split
from fedsam.engine.blocks import why_not_together
from fedsam.engine.context import RunContext, shared
from fedsam.flatness.convolution import FastConvolution
from fedsam.models.attention import PlainAttention
from fedsam.params import Weights
from fedsam.rng import stream

BATCH = 512
TOGETHER = 2**21
"""Numbers in the parameters of the points that are evaluated at once."""
ROOM = 2**30
"""Bytes in which recorded gradients may stay between products with the Hessian."""


class Landscape:
    """L(θ) = 1/N Σ_n ℓ(f_θ(x_n), y_n): the mean cross entropy, in evaluation mode and full precision, without
    augmentation.

    The inputs are normalised once and stay on the task's device. A model with batch normalisation has the same
    statistics at every point: those that are given, which belong to one of the points.

    `evaluations` counts the cost, in gradients over all N examples: a gradient is 1, a product of the Hessian and a
    vector is 2, the loss alone is not counted. (By the clock, on the CNN of Caldarola et al. 2022 and a CPU, a product
    takes as long as 3.3 gradients, and the loss as long as 0.3.)

    Args:
        context: of a run; gives the model, the normalisation and the device.
        images: uint8 [N, H, W, C].
        labels: int64 [N].
        statistics: [S] in a tuple, of a model with batch normalisation.
        batch: examples in a pass; bounds memory, and changes results by rounding alone.
    """

    def __init__(
        self,
        context: RunContext,
        images: np.ndarray | Tensor,
        labels: np.ndarray | Tensor,
        statistics: tuple[Tensor, ...] = (),
        batch: int = BATCH,
    ) -> None:
        pixels = images if isinstance(images, Tensor) else shared(images)
        targets = labels if isinstance(labels, Tensor) else shared(labels)
        with torch.no_grad():
            inputs_N = context.prepare(pixels.to(context.device))
        self._set(context, inputs_N, targets.to(context.device), statistics, batch)

    def _set(
        self, context: RunContext, inputs_N: Tensor, targets_N: Tensor, statistics: tuple[Tensor, ...], batch: int
    ) -> None:
        self.context, self.statistics, self.batch = context, statistics, context.at_once(batch)
        self.inputs_N, self.targets_N = inputs_N, targets_N
        self.examples = len(targets_N)
        self.evaluations = 0.0

    def part(self, index: Sequence[int] | np.ndarray) -> Landscape:
        """The loss on some of the examples."""
        index_B = torch.as_tensor(np.asarray(index), device=self.targets_N.device)
        inputs_B = self.inputs_N[index_B]
        if inputs_B.dim() == 4:
            inputs_B = inputs_B.contiguous(memory_format=torch.channels_last)
        return self._like(inputs_B, self.targets_N[index_B], self.statistics)

    def given(self, *statistics: Tensor) -> Landscape:
        """The same with other statistics of batch normalisation."""
        return self._like(self.inputs_N, self.targets_N, statistics)

    def _like(self, inputs_N: Tensor, targets_N: Tensor, statistics: tuple[Tensor, ...]) -> Landscape:
        other = object.__new__(Landscape)
        other._set(self.context, inputs_N, targets_N, statistics, self.batch)
        return other

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(torch.split(self.inputs_N, self.batch), torch.split(self.targets_N, self.batch), strict=True)

    def loss(self, theta_P: Tensor) -> float:
        """L(θ)."""
        return self.loss_and_value(theta_P)[0]

    def loss_and_value(self, theta_P: Tensor) -> tuple[float, float]:
        """L(θ), and the headline metric."""
        loss_G, value_G = self._forward(theta_P[None])
        return float(loss_G), float(value_G)

    @property
    def together(self) -> int:
        """At how many points the loss is evaluated at once: several where that pays, for models whose kernels are
        short.
        """
        alone = not self.context.small or why_not_together(self.context)
        return 1 if alone else max(1, min(32, TOGETHER // self.context.layout.total))

    def losses_and_values(self, theta_GP: Tensor) -> tuple[Tensor, Tensor]:
        """`loss_and_value` at several points, float64 [G] each, on the CPU; by vmap if G > 1 and it works."""
        loss_G, value_G = self._forward(theta_GP)
        return loss_G.cpu(), value_G.cpu()

    def _forward(self, theta_GP: Tensor) -> tuple[Tensor, Tensor]:
        total_G = torch.zeros(len(theta_GP), dtype=torch.float64, device=theta_GP.device)
        metric = self.context.task.headline
        sums_G: list[Tensor] = []
        weight_G = torch.zeros_like(total_G)
        with torch.no_grad():
            for inputs_B, targets_B in self._batches():
                if len(theta_GP) == 1 or why_not_together(self.context):
                    each = [self.context.outputs(Weights(theta_P, self.statistics), inputs_B) for theta_P in theta_GP]
                    outputs_GB = torch.stack(each)
                else:

                    def at(theta_P: Tensor, inputs_B: Tensor = inputs_B) -> Tensor:
                        return self.context.outputs(Weights(theta_P, self.statistics), inputs_B)

                    outputs_GB = vmap(at)(theta_GP)
                outputs_GB = outputs_GB.to(theta_GP.dtype)  # which they lack under autocast
                losses, weight = self._losses(
                    outputs_GB.flatten(0, 1), targets_B.repeat(len(theta_GP), *_ones(targets_B))
                )
                total_G += losses.view(len(theta_GP), -1).sum(dim=1, dtype=torch.float64)
                weight_G += weight.view(len(theta_GP), -1).sum(dim=1, dtype=torch.float64)
                more_G = [metric.total(outputs_B, targets_B) for outputs_B in outputs_GB]
                sums_G = list(map(metric.joined, sums_G, more_G)) if sums_G else more_G
        value_G = [metric.value(total_S.cpu().numpy()) for total_S in sums_G]
        return total_G / weight_G, torch.tensor(value_G, dtype=torch.float64)

    def gradient(self, theta_P: Tensor) -> Tensor:
        """∇L(θ), [P]."""
        return self.loss_and_gradient(theta_P)[1]

    def loss_and_gradient(self, theta_P: Tensor) -> tuple[float, Tensor]:
        """L(θ) and ∇L(θ), [P]; the cost of one gradient."""
        total, gradient_P = torch.zeros((), dtype=torch.float64, device=theta_P.device), torch.zeros_like(theta_P)
        weights = torch.zeros_like(total)
        for inputs_B, targets_B in self._batches():
            losses_B, weight_B, leaf_P = self._recorded(theta_P, inputs_B, targets_B)
            gradient_P += torch.autograd.grad(losses_B.sum(), leaf_P)[0]
            total += losses_B.detach().sum(dtype=torch.float64)
            weights += weight_B.sum(dtype=torch.float64)
        self.evaluations += 1
        return float(total / weights), gradient_P / float(weights)

    def hvp(self, theta_P: Tensor, vectors_PK: Tensor) -> Tensor:
        """∇²L(θ) V, [P, K]."""
        return self.hessian(theta_P, 0)(vectors_PK)

    def hessian(self, theta_P: Tensor, room: int = ROOM) -> Callable[[Tensor], Tensor]:
        """V ↦ ∇²L(θ) V for V [P, K]: the gradient of ⟨∇L(θ), v_k⟩ (Pearlmutter, Neural Computation 1994), by backward
        passes through the gradient, which is recorded once for all K, and where there is room once for all products.

        Forward mode over the gradient would be as fast, but torch lacks it for group normalisation; and of attention's
        fused kernels it lacks second derivatives.

        Args:
            room: bytes in which recorded gradients may stay.
        """
        kept: list[tuple[Tensor, Tensor, float]] = []
        left = room

        def products(vectors_PK: Tensor) -> Tensor:
            nonlocal left
            products_PK, weights = torch.zeros_like(vectors_PK), 0.0
            for place, batch in enumerate(self._batches()):
                keep = place < len(kept)
                if keep:
                    recorded = kept[place]
                elif left > 0:
                    with _saved_bytes() as saved:
                        recorded = self._gradient_recorded(theta_P, *batch)
                    left -= sum(saved.values())
                    if keep := left >= 0:
                        kept.append(recorded)
                else:
                    recorded = self._gradient_recorded(theta_P, *batch)
                gradient_P, leaf_P, weight = recorded
                weights += weight
                _add_products(products_PK, gradient_P, leaf_P, vectors_PK, keep)
            self.evaluations += 2 * vectors_PK.shape[1]
            return products_PK / weights

        return products

    def _gradient_recorded(self, theta_P: Tensor, inputs_B: Tensor, targets_B: Tensor) -> tuple[Tensor, Tensor, float]:
        """Σ ∇ℓ with what made it, theta as a leaf of that, and the weight of the examples."""
        with PlainAttention(), FastConvolution():
            losses_B, weight_B, leaf_P = self._recorded(theta_P, inputs_B, targets_B)
        with torch.enable_grad():
            (gradient_P,) = torch.autograd.grad(losses_B.sum(), leaf_P, create_graph=True)
        return gradient_P, leaf_P, float(weight_B.sum(dtype=torch.float64))

    def _recorded(self, theta_P: Tensor, inputs_B: Tensor, targets_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.enable_grad():
            leaf_P = theta_P.detach().requires_grad_()
            outputs_B = self.context.outputs(Weights(leaf_P, self.statistics), inputs_B)
            return *self._losses(outputs_B, targets_B), leaf_P

    def _losses(self, outputs_N: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
        """Of each example the sum of its losses and their weight."""
        losses_N, weight = self.context.task.losses(outputs_N, targets_N)
        return losses_N, weight if isinstance(weight, Tensor) else torch.full_like(losses_N.detach(), weight)


@contextmanager
def _saved_bytes() -> Iterator[dict[int, int]]:
    """How many bytes are kept for backward passes of what is computed inside, by where they lie."""
    seen: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        yield seen


def _add_products(products_PK: Tensor, gradient_P: Tensor, leaf_P: Tensor, vectors_PK: Tensor, keep: bool) -> None:
    with torch.enable_grad():
        # scalars, because `grad_outputs` would load torch's symbolic shapes first (1.5 s)
        slopes_K = [torch.dot(gradient_P, vector_P) for vector_P in vectors_PK.unbind(dim=1)]
    for k, slope in enumerate(slopes_K):
        # unless it is kept, what was recorded is freed with the last column
        (product_P,) = torch.autograd.grad(slope, leaf_P, retain_graph=keep or k < len(slopes_K) - 1)
        products_PK[:, k] += product_P


def _ones(targets: Tensor) -> list[int]:
    return [1] * (targets.dim() - 1)


def examples_of(
    federation: Federation, seed: int, images: int | None = None, clients: Sequence[int] | None = None
) -> Split:
    """Training examples that stand for a loss: of all clients for the global one, Σ_k n_k / n · L_k, so that each
    client is there in proportion to its size, or of some clients.

    Without replacement and all alike, keyed by `seed`; only clients of which examples are drawn are asked for theirs.

    Args:
        federation: whose training examples are drawn.
        images: at most so many; None = all.
        clients: of these; None = of all.
    """
    ids = np.arange(federation.clients) if clients is None else np.asarray(clients)
    ends_K = np.cumsum(federation.sizes(ids.tolist()))
    total = int(ends_K[-1])
    chosen = np.arange(total)
    if images is not None and images < total:
        # 0 is the federation's own stream
        rng = stream(seed, "landscape", client=0 if clients is None else int(ids[0]) + 1)
        chosen = np.sort(rng.choice(total, size=images, replace=False, shuffle=False))
    owner = np.searchsorted(ends_K, chosen, side="right")
    found, row = np.unique(owner, return_inverse=True)
    store, index = federation.examples(ids[found].tolist())
    starts_K = np.concatenate([[0], ends_K[:-1]])
    at = np.array([index[k][place] for k, place in zip(row, chosen - starts_K[owner], strict=True)], dtype=np.int64)
    return Split(store.inputs[at], store.targets[at])
