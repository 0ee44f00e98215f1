"""Loss and metrics of a model on a split that lies on the device.

Shapes: N examples, B batch, S statistics of a metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from fedsam.attack.base import Attack
from fedsam.data.images.normalise import Normalise
from fedsam.engine.context import DeviceSplit, RunContext
from fedsam.params import Weights
from fedsam.tasks.base import Weight
from fedsam.tasks.metric import Metric

BATCH = 512  # fixed for a model and its data: another batch could round otherwise


def evaluate(context: RunContext, weights: Weights, store: DeviceSplit) -> tuple[float, float]:
    """Mean loss and headline metric over the whole split, in full precision (no autocast)."""
    loss, (value,) = scores(context, weights, store, [context.task.headline])
    return loss, value


def scores(
    context: RunContext, weights: Weights, store: DeviceSplit, metrics: Sequence[Metric]
) -> tuple[float, list[Any]]:
    """Mean loss and some metrics over the whole split, in full precision: each made of sums over all examples.

    Args:
        metrics: of the run's task.
    """
    loss, summed = (torch.zeros((), dtype=torch.float64, device=context.device) for _ in range(2))
    totals: list[Tensor] = []

    def model(inputs: Tensor) -> Tensor:
        return context.outputs(weights, inputs)

    with torch.no_grad():
        for inputs, outputs, targets in _outputs(context, weights, store):
            losses_B, weight = context.task.losses(outputs, targets)
            loss += losses_B.double().sum()
            summed += _sum(weight, len(targets))
            found = [metric.judged(model, inputs, outputs, targets) for metric in metrics]
            pairs = zip(metrics, totals or found, found, strict=True)
            totals = [metric.joined(one, more) for metric, one, more in pairs] if totals else found
    values = [metric.value(total_S.cpu().numpy()) for metric, total_S in zip(metrics, totals, strict=True)]
    return float(loss / summed), values


def per_example(context: RunContext, weights: Weights, store: DeviceSplit) -> tuple[Tensor, Tensor, Tensor]:
    """Of each example the sum of its losses and their weight, [N], and the statistics of the headline metric, [N, S];
    float64, computed in full precision.
    """
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.no_grad():
        for _, outputs, targets in _outputs(context, weights, store):
            losses_B, weight = context.task.losses(outputs, targets)
            weight_B = weight if isinstance(weight, Tensor) else torch.full_like(losses_B, weight)
            terms_BS = context.task.headline.statistics(outputs, targets)
            found.append((losses_B.double(), weight_B.double(), terms_BS))
    losses, shares, terms = zip(*found, strict=True)
    return torch.cat(losses), torch.cat(shares), torch.cat(terms)


def robust_score(context: RunContext, weights: Weights, store: DeviceSplit, attack: Attack) -> float:
    """The headline metric on images that were changed by an attack on this model, each from the image itself; in full
    precision.
    """
    prepare, metric = context.prepare, context.task.headline
    assert isinstance(prepare, Normalise)  # whatever attacks says that it needs images
    total: Tensor | None = None
    batch = context.at_once(BATCH)
    for begin in range(0, len(store.targets), batch):
        targets = store.targets[begin : begin + batch]

        def gradient(inputs: Tensor, targets: Tensor = targets) -> Tensor:
            with torch.enable_grad():
                leaf = inputs.detach().requires_grad_()
                loss = context.task.losses(context.outputs(weights, leaf), targets)[0].sum()
                if not loss.requires_grad:  # a model that looks at no pixel
                    return torch.zeros_like(leaf)
                return torch.autograd.grad(loss, leaf, allow_unused=True, materialize_grads=True)[0]

        changed = attack.changed(prepare(store.inputs[begin : begin + batch]), prepare.mean_C, prepare.std_C, gradient)
        with torch.no_grad():
            more = metric.total(context.outputs(weights, changed), targets)
            total = more if total is None else metric.joined(total, more)
    assert total is not None  # no split is empty
    value: float = metric.value(total.cpu().numpy())
    return value


def _outputs(context: RunContext, weights: Weights, store: DeviceSplit) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches of inputs, outputs and targets."""
    batch = context.at_once(BATCH)
    for begin in range(0, len(store.targets), batch):
        inputs = context.prepare(store.inputs[begin : begin + batch])
        yield inputs, context.outputs(weights, inputs), store.targets[begin : begin + batch]


def _sum(weight: Weight, examples: int) -> Tensor | float:
    return weight.double().sum() if isinstance(weight, Tensor) else weight * examples
