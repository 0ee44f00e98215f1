"""What can be measured of a run's model after training: curvature, sharpness, noise, the line to another model, the
first steps of another optimiser. Each is a frozen record whose `repr` is the name under which the result is kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fedsam.engine.context import numerics
from fedsam.engine.loop import LoopTrainer
from fedsam.flatness.loaded_run import LoadedRun
from fedsam.flatness.sharpness import noise, worst_in_ball
from fedsam.flatness.spectrum import top_eigenvalues
from fedsam.flatness.surface import between
from fedsam.optim.base import ClientOptimizer
from fedsam.optim.sam import SAM


@dataclass(frozen=True)
class Measure(ABC):
    """A measurement on the training loss of a run's served model; the loss is as `fedsam.flatness.landscape` has it."""

    @property
    def others(self) -> tuple[str, ...]:
        """Names of further runs, of the same seed, that it needs."""
        return ()

    @abstractmethod
    def of(self, loaded: LoadedRun, others: Sequence[LoadedRun]) -> Any:
        """The result, as plain JSON types."""


@dataclass(frozen=True)
class TrainingLoss(Measure):
    """[loss, headline metric] of so many training images."""

    images: int = 1000

    def of(self, loaded: LoadedRun, others: Sequence[LoadedRun]) -> list[float]:
        """Both."""
        return list(loaded.landscape(self.images, loaded.served).loss_and_value(loaded.served.theta_P))


@dataclass(frozen=True)
class LambdaMax(Measure):
    """λ₁, the largest eigenvalue of the Hessian of the loss on so many training images."""

    images: int = 1000
    tolerance: float = 1e-3

    def of(self, loaded: LoadedRun, others: Sequence[LoadedRun]) -> float:
        """λ₁."""
        landscape = loaded.landscape(self.images, loaded.served)
        return top_eigenvalues(landscape, loaded.served.theta_P, 1, self.tolerance, loaded.run.seed).values[0]


@dataclass(frozen=True)
class Sharpness(Measure):
    """max L(w + ε) − L(w) over ‖ε‖₂ ≤ ρ, for each radius, by so many steps of ascent."""

    radii: tuple[float, ...]
    images: int = 1000
    steps: int = 5

    def of(self, loaded: LoadedRun, others: Sequence[LoadedRun]) -> list[float]:
        """One number a radius."""
        landscape, theta_P = loaded.landscape(self.images, loaded.served), loaded.served.theta_P
        return [worst_in_ball(landscape, theta_P, SAM(), rho, self.steps).sharpness for rho in self.radii]


@dataclass(frozen=True)
class NoisyAccuracy(Measure):
    """Mean accuracy on the test images at w + σ |w| e, or w + σ e, with e standard normal, for each σ."""

    sigmas: tuple[float, ...]
    draws: int = 10
    relative: bool = True

    def of(self, loaded: LoadedRun, others: Sequence[LoadedRun]) -> list[float]:
        """One number a σ."""
        from fedsam.flatness.landscape import Landscape

        test, theta_P, seed = loaded.federation.test, loaded.served.theta_P, loaded.run.seed
        landscape = Landscape(loaded.context, test.inputs, test.targets, loaded.served.statistics)
        return [noise(landscape, theta_P, sigma, self.draws, self.relative, seed).value for sigma in self.sigmas]


@dataclass(frozen=True)
class TestAccuracy(Measure):
    """The accuracy of the run's model on the test images of another run, such as an earlier task."""

    __test__ = False  # not a test, whatever its name
    on: str

    @property
    def others(self) -> tuple[str, ...]:
        """That run."""
        return (self.on,)

    def of(self, loaded: LoadedRun, others: Sequence[LoadedRun]) -> float:
        """From 0 to 1."""
        from fedsam.flatness.landscape import Landscape

        test = others[0].federation.test
        landscape = Landscape(loaded.context, test.inputs, test.targets, loaded.served.statistics)
        return landscape.loss_and_value(loaded.served.theta_P)[1]


@dataclass(frozen=True)
class LineTo(Measure):
    """Loss and metric on training images along (1 − t) w + t w', w' the model of another run, for t from 0 to 1 and
    somewhat beyond.

    Statistics of batch normalisation are estimated anew at each point, ends included, as those of averaged models are
    (Izmailov et al., UAI 2018, section 3.2): with those of w, the loss at w' would be that of a model nobody trained,
    and so high that no barrier could be seen beside it.
    """

    to: str
    images: int = 1000
    points: int = 25
    margin: float = 0.25

    @property
    def others(self) -> tuple[str, ...]:
        """That run."""
        return (self.to,)

    def of(self, loaded: LoadedRun, others: Sequence[LoadedRun]) -> dict[str, list[float]]:
        """`t`, `loss`, and the headline metric by its name."""
        landscape, name = loaded.landscape(self.images, loaded.served), loaded.run.learnt.score.name
        begin_P, end_P = loaded.served.theta_P, others[0].served.theta_P
        if loaded.context.batchnorms is None:
            found = between(landscape, begin_P, end_P, self.points, self.margin)
            return {"t": found.t, "loss": found.loss, name: found.value}
        t: list[float] = np.linspace(-self.margin, 1 + self.margin, self.points).tolist()
        pairs = []
        for at in t:
            theta_P = torch.lerp(begin_P, end_P, at)
            statistics_S = loaded.simulation.statistics.estimated(theta_P)
            pairs.append(landscape.given(statistics_S).loss_and_value(theta_P))
        return {"t": t, "loss": [loss for loss, _ in pairs], name: [value for _, value in pairs]}


def barrier(line: dict[str, list[float]]) -> float:
    """max L on the segment between both ends, less the larger of the losses at the ends; 0 where there is no barrier
    (Frankle et al., ICML 2020, with the larger end in place of their mean).
    """
    inside = {round(t, 9): loss for t, loss in zip(line["t"], line["loss"], strict=True) if -1e-9 <= t <= 1 + 1e-9}
    return max(inside.values()) - max(inside[0.0], inside[1.0])


@dataclass(frozen=True)
class FirstSteps(Measure):
    """The mean training loss after 0, 1, ... steps of an optimiser from a run's model: over several draws of
    mini-batches, those of the run's next rounds. Momentum begins at zero, the learning rate is the optimiser's, and
    statistics of batch normalisation stay those of the run's model.

    Args:
        optimizer: whose steps; without vectors that it would keep from round to round.
        client: on whose data.
    """

    optimizer: ClientOptimizer
    steps: int = 8
    draws: int = 8
    images: int = 1000
    client: int = 0

    def of(self, loaded: LoadedRun, others: Sequence[LoadedRun]) -> dict[str, list[float]]:
        """`loss` and the headline metric by its name, after 0, 1, ... `steps` steps."""
        landscape = loaded.landscape(self.images, loaded.served)
        found = [landscape.loss_and_value(loaded.served.theta_P)]
        trainer = LoopTrainer(replace(loaded.context, optimizer=self.optimizer), loaded.federation)
        try:
            with numerics(loaded.run.engine.precision):
                for steps in range(1, self.steps + 1):
                    after = [self._after(loaded, trainer, landscape, steps, draw) for draw in range(self.draws)]
                    found.append((float(np.mean([a for a, _ in after])), float(np.mean([b for _, b in after]))))
        finally:
            trainer.close()
        name = loaded.run.learnt.score.name
        return {"loss": [loss for loss, _ in found], name: [value for _, value in found]}

    def _after(
        self, loaded: LoadedRun, trainer: LoopTrainer, landscape: Any, steps: int, draw: int
    ) -> tuple[float, float]:
        simulation = loaded.simulation
        lr = self.optimizer.base_optimizer.lr
        order = simulation.order_of(simulation.done + draw, lr, [self.client], np.ones(1))
        store, (plan,) = trainer.context.plan(loaded.federation, order)
        theta_P = trainer.one(loaded.served.theta_P, trainer.context.store(store), plan.first(steps), order).theta_P
        pair: tuple[float, float] = landscape.loss_and_value(theta_P)
        return pair
