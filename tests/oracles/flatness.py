"""A task whose loss is written out again here, in float64 and without anything of fedsam's geometry."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fedsam import Run
from fedsam.data.base import Federation
from fedsam.data.synthetic import Synthetic
from fedsam.engine.context import RunContext
from fedsam.federated.build import assemble
from fedsam.flatness.landscape import Landscape
from fedsam.params import Weights, theta_of

DATA = Synthetic(clients=4, size=4, channels=1, classes=3, samples_per_client=11, noise=2.0, test_samples=3)


def task_of(**keys: Any) -> tuple[Federation, RunContext, Tensor]:
    """Federation, task and a random theta, all of whose numbers are far from 0."""
    model = {} if "model.name" in keys else {"model.width": 5}
    run = Run.from_keys(
        {"data": DATA, **model, "engine.precision": "fp64", "engine.device": "cpu", "cohort": 2, **keys}
    )
    federation, context = assemble(run)
    rng = torch.Generator().manual_seed(7)
    theta_P = theta_of(context.module).double()
    theta_P = theta_P + 0.4 * torch.randn(theta_P.shape, generator=rng, dtype=torch.float64)
    return federation, context, theta_P


def whole(federation: Federation, context: RunContext, batch: int = 512, *statistics: Tensor) -> Landscape:
    """The landscape of all training examples."""
    store, index = federation.examples(range(federation.clients))
    at = [int(i) for own in index for i in own]
    return Landscape(context, store.inputs[at], store.targets[at], statistics, batch)


def loss_of(federation: Federation, context: RunContext, theta_P: Tensor, *statistics: Tensor) -> Tensor:
    """The mean cross entropy over all training examples at once, differentiable."""
    store, index = federation.examples(range(federation.clients))
    at = [int(i) for own in index for i in own]
    spec = federation.spec
    pixels = torch.from_numpy(store.inputs[at]).double() / spec.scale
    mean, std = (torch.tensor(numbers, dtype=torch.float64) for numbers in (spec.mean, spec.std))
    logits = context.outputs(Weights(theta_P, tuple(statistics)), ((pixels - mean) / std).permute(0, 3, 1, 2))
    labels = torch.from_numpy(store.targets[at])
    return torch.nn.functional.cross_entropy(logits, labels)


def hessian_of(federation: Federation, context: RunContext, theta_P: Tensor, *statistics: Tensor) -> Tensor:
    """Its Hessian, [P, P], row by row."""
    leaf = theta_P.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(federation, context, leaf, *statistics), leaf, create_graph=True)
    rows = [torch.autograd.grad(part, leaf, retain_graph=True)[0] for part in gradient]
    return torch.stack(rows)


class Quadratic(Landscape):
    """½ (θ − x)ᵀ A (θ − x) instead of a network's loss; the layout and the batches are those of a task."""

    def __init__(self, context: RunContext, a_PP: Tensor, x_P: Tensor) -> None:
        self.context, self.a_PP, self.x_P = context, a_PP, x_P
        self.statistics, self.examples, self.evaluations, self.batch = (), 1, 0.0, 1

    def loss_and_value(self, theta_P: Tensor) -> tuple[float, float]:
        away_P = theta_P - self.x_P
        return float(0.5 * away_P @ self.a_PP @ away_P), 0.25

    def loss_and_gradient(self, theta_P: Tensor) -> tuple[float, Tensor]:
        self.evaluations += 1
        return self.loss(theta_P), self.a_PP @ (theta_P - self.x_P)

    def hvp(self, theta_P: Tensor, vectors_PK: Tensor) -> Tensor:
        self.evaluations += 2 * vectors_PK.shape[1]
        return self.a_PP @ vectors_PK

    def hessian(self, theta_P: Tensor, room: int = 0) -> Callable[[Tensor], Tensor]:
        return partial(self.hvp, theta_P)
