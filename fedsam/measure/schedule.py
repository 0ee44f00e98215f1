"""What is measured of a run's global model after a round: loss and metrics, those under attack, and what probes find.

Shapes: P parameters.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from fedsam.data.base import Federation
from fedsam.engine.context import DeviceSplit, RunContext
from fedsam.errors import DivergedError, Interrupted
from fedsam.federated.batchnorm import Statistics
from fedsam.federated.local_adaptation import LocalAdaptation
from fedsam.measure.base import Measurement, Probe, Snapshot
from fedsam.measure.evaluate import evaluate, robust_score, scores
from fedsam.measure.local_tests import LocalTests
from fedsam.params import Weights
from fedsam.run import Run

log = logging.getLogger("fedsam")

SHOWN = 200
"""Clients whose labels are written down, and who evaluate on their own test sets."""


def measurements_of(run: Run) -> dict[str, Measurement]:
    """A run's measurements, by group of keys."""
    parts = {field: getattr(run, field) for field in type(run).model_fields}
    return {group: part for group, part in parts.items() if isinstance(part, Measurement)}


def due(run: Run, measurements: Mapping[str, Measurement], round: int) -> bool:
    """Whether anything is measured after this many rounds, and a record written."""
    evaluated = round % run.evaluate_every == 0 or round > run.rounds - run.evaluate_last
    return evaluated or any(part.due(round, run.rounds) for part in measurements.values())


class Measures:
    """Measures the models of one run.

    Args:
        run: the description.
        federation: its data.
        context: of the run.
        statistics: of the global model's batch normalisation.
    """

    def __init__(self, run: Run, federation: Federation, context: RunContext, statistics: Statistics) -> None:
        self.run, self.federation, self.context, self.statistics = run, federation, context, statistics
        self.test = context.place(federation.test)
        self.measurements = measurements_of(run)
        self.further = {name: context.place(split) for name, split in federation.further.items()}
        self._noted: set[str] = set()

    @property
    def splits(self) -> dict[str, int]:
        """How many examples there are in each test split, by its name."""
        return {self.federation.measured: len(self.federation.test)} | {
            name: len(split) for name, split in self.federation.further.items()
        }

    def due(self, round: int) -> bool:
        """Whether anything is to be measured after this many rounds."""
        return due(self.run, self.measurements, round)

    def of(
        self, round: int, served_P: Tensor, theta_P: Tensor, adaptation: LocalAdaptation | None = None
    ) -> dict[str, Any]:
        """What a record says of the model.

        Args:
            round: how many rounds are done.
            served_P: the model that is served.
            theta_P: the global model, which is the same vector unless there is an average.
            adaptation: for the probes.

        Raises:
            DivergedError: the loss is not finite.
        """
        run, served = self.run, self.statistics.of(served_P, theta_P)
        metrics = [metric for metric in self.context.task.recorded if not metric.last or round == run.rounds]
        headline = metrics[0].name
        found: dict[str, Any] = {}
        for split, store in {self.federation.measured: self.test, **self.further}.items():
            loss, values = scores(self.context, served, store, metrics)
            if not math.isfinite(loss):
                cure = "lower client.lr or server.lr, or set client.clip_norm"
                raise DivergedError(f"round {round}: the {split} loss of the global model is not finite; {cure}")
            named = {metric.name: value for metric, value in zip(metrics, values, strict=True)}
            found |= {f"{split}_{headline}": named.pop(headline), f"{split}_loss": loss}
            found |= {f"{split}_{name}": value for name, value in named.items()}
            if run.average.name != "none":
                raw = values[0] if served_P is theta_P else self._raw(theta_P, store)
                found[f"raw_{split}_{headline}"] = raw
        if run.attack.passes:
            found |= self.aside(f"robust_{headline}", lambda: self._robust(served))
        snapshot = Snapshot(self.context, self.federation, round, served, adaptation)
        for group, part in self.measurements.items():
            if isinstance(part, Probe) and part.due(round, run.rounds):
                found |= self.aside(group, partial(part.measure, snapshot))
        return found

    def aside(self, name: str, measure: Callable[[], Any]) -> dict[str, Any]:
        """What is measured beside the loss by which a run is judged, by its name in a record. Where that fails or gives
        numbers that are not finite: None, and the reason, which is noted once. It ends no run.
        """
        try:
            value = measure()
            why = "" if _finite(value) else "some of its numbers are not finite"
        except Interrupted:
            raise
        except Exception as error:
            first = (str(error).strip() or "no message").splitlines()[0]
            why = f"{type(error).__name__}: {first}"
        if not why:
            return {name: value}
        if name not in self._noted:
            self._noted.add(name)
            log.warning("%s is not measured, and the run goes on: %s", name, why)
        return {name: None, f"{name}_error": why}

    def _robust(self, served: Weights) -> float:
        images = self.run.attack_images
        attacked = DeviceSplit(self.test.inputs[:images], self.test.targets[:images])
        return robust_score(self.context, served, attacked, self.run.attack)

    def _raw(self, theta_P: Tensor, store: DeviceSplit) -> float:
        return evaluate(self.context, self.statistics.of(theta_P, theta_P), store)[1]

    def partition(self) -> dict[str, Any]:
        """How the data are divided: all sizes, the labels of the first clients, and how different these are."""
        from fedsam.data.heterogeneity import describe

        shown = min(SHOWN, self.federation.clients)
        counts_KL = self.federation.label_counts(range(shown))
        classes, described = self.federation.spec.classes, describe(counts_KL)
        classes = classes if counts_KL.shape[1] == classes else None  # of masks that are not read none is known
        kept = [name for name, value in described.items() if isinstance(value, float) and (classes or name == "gini")]
        traits, groups = self.federation.traits(range(shown)), self.federation.groups_of(range(shown))
        return {
            "clients": self.federation.clients,
            "classes": classes,
            "shown": shown,
            "examples": counts_KL.sum(axis=1).tolist(),
            "label_counts": counts_KL.tolist(),
            "measures": {name: described[name] for name in kept},
            **({"skew": traits} if traits else {}),
            **({"groups": groups} if groups else {}),
        }

    @property
    def holds_out(self) -> bool:
        """Whether clients have local test sets, and the run is not for tuning."""
        return bool(self.run.data.local_test) and not self.run.data.validation

    def clients(self, round: int, served_P: Tensor, theta_P: Tensor, adaptation: LocalAdaptation) -> dict[str, Any]:
        """The served model on the local test sets of the first clients, or each client's own where they have such;
        nothing but the reason if that fails.

        Args:
            round, served_P, theta_P, adaptation: as for `of`.
        """

        def scores() -> dict[str, Any]:
            tests = LocalTests(self.context, self.federation, range(min(SHOWN, self.federation.clients)))
            values, losses = tests.scores(served := self.statistics.of(served_P, theta_P))
            for client, weights in adaptation.before(tests.having, served):
                losses[client], values[client] = tests.score(client, weights)
            losses = [value if value is None or math.isfinite(value) else None for value in losses]
            return {"examples": tests.sizes, self.context.task.headline.name: values, "loss": losses}

        found = self.aside("clients", scores)
        return {"round": round, **(found["clients"] or {"error": found["clients_error"]})}


def _finite(value: Any) -> bool:
    """Whether all numbers in a measurement are finite; None is none."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
