"""What the geometry of a trained model costs: the paper's CNN on 1,000 images.

- the gradient over a hand-written one;
- a product of the Hessian and a vector over a gradient (of which it cannot take fewer than two);
- the five largest eigenvalues over the products alone that they take;
- a surface over as many hand-written evaluations, with its points per second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fedsam.bench import Row, alternate, wait_for
from fedsam.data.synthetic import Synthetic
from fedsam.engine.auto import Auto
from fedsam.engine.context import numerics
from fedsam.federated.round_loop import Simulation
from fedsam.flatness.directions import random_direction
from fedsam.flatness.landscape import Landscape, examples_of
from fedsam.flatness.spectrum import top_eigenvalues
from fedsam.flatness.surface import plane
from fedsam.optim.sgd import SGD
from fedsam.params import named
from fedsam.run import Run

IMAGES, BATCH = 1000, 128  # of the landscape, as `fedsam geometry` takes it for models with convolutions
TRAINING = 20  # rounds before
TOP = 5  # eigenvalues
SIDE = 5  # points along each axis of the surface
MODEL = {"name": "cnn"}


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Train a model for a few rounds and measure it."""
    with numerics("fp32"):
        landscape, theta_P = trained()
        context, batches = landscape.context, _Batches(landscape, theta_P)
        vector_P1 = random_direction(context.layout, theta_P, 0)[:, None]
        right_P, up_P = (random_direction(context.layout, theta_P, 0, number) for number in (1, 2))
        parts: dict[str, Callable[[], object]] = {
            "gradient by hand": batches.gradient,
            "gradient": lambda: landscape.gradient(theta_P),
            "one HVP": lambda: landscape.hvp(theta_P, vector_P1),
            "surface by hand": lambda: [batches.loss() for _ in range(SIDE**2)],
            "surface": lambda: plane(landscape, theta_P, right_P, up_P, SIDE),
            "eigenvalues": lambda: top_eigenvalues(landscape, theta_P, TOP),
        }
        before, turns = landscape.evaluations, rounds + 1
        seconds = alternate(parts, rounds, wait_for(context.device))
        # of each turn one gradient and one product are parts of their own, and the eigenvalues begin with a gradient
        products = ((landscape.evaluations - before) / turns - 4) / 2
    middle = {name: median(times) for name, times in seconds.items()}
    limits = {
        "gradient by hand": middle["gradient by hand"],
        "gradient": middle["gradient by hand"],
        "one HVP": middle["gradient"],
        "surface by hand": middle["surface by hand"],
        "surface": middle["surface by hand"],
        "eigenvalues": products * middle["one HVP"],
    }
    notes = {
        "surface": f"{SIDE**2 / middle['surface']:.1f} points/s",
        "eigenvalues": f"{TOP} by {products:.0f} products",
    }
    for name, times in seconds.items():
        yield Row(name, "none", "fp32", times, middle[name] / limits[name], notes.get(name, ""))


def trained() -> tuple[Landscape, Tensor]:
    """The loss on some training images, and a model that has seen them."""
    data = Synthetic(clients=20, samples_per_client=IMAGES // 20, size=32, channels=3)
    client, model = SGD(lr=0.05, batch_size=25, epochs=1), dict[str, Any](MODEL)
    run = Run(data=data, model=model, client=client, cohort=5, rounds=TRAINING, engine=Auto())
    simulation = Simulation(run)
    for _ in range(TRAINING):
        simulation.advance()
    simulation.close()
    split = examples_of(simulation.federation, run.seed, IMAGES)
    return Landscape(simulation.context, split.inputs, split.targets, batch=BATCH), simulation.theta_P


class _Batches:
    """The same loss as a module on batches, by hand."""

    def __init__(self, landscape: Landscape, theta_P: Tensor) -> None:
        import copy

        self.module = copy.deepcopy(landscape.context.module)
        self.module.load_state_dict(named(landscape.context.module, theta_P))
        splits = torch.split(landscape.inputs_N, BATCH), torch.split(landscape.targets_N, BATCH)
        self.batches, self.examples = list(zip(*splits, strict=True)), landscape.examples

    def gradient(self) -> list[Tensor]:
        """Of the mean loss."""
        self.module.zero_grad()
        for inputs, labels in self.batches:
            loss = F.cross_entropy(self.module(inputs), labels, reduction="sum") / self.examples
            loss.backward()  # type: ignore[no-untyped-call]
        return [p.grad for p in self.module.parameters() if p.grad is not None]

    @torch.no_grad()
    def loss(self) -> float:
        """The mean loss."""
        parts = [F.cross_entropy(self.module(inputs), labels, reduction="sum") for inputs, labels in self.batches]
        return float(torch.stack(parts).sum()) / self.examples
