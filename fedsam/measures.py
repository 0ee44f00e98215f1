"""What is measured of a run's global model after a round: loss and accuracy, robust accuracy, and what probes find.

Shapes: P parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fedsam.data.base import Federation
from fedsam.engine.task import Store, Task
from fedsam.evaluate import evaluate, robust_accuracy
from fedsam.local_tests import LocalTests
from fedsam.probes.base import Probe, Snapshot
from fedsam.run import Run
from fedsam.statistics import Statistics
from fedsam.trial import Trial

SHOWN = 200
"""Clients whose labels are written down, and who evaluate on their own test sets."""


def probes_of(run: Run) -> dict[str, Probe]:
    """A run's measurements, by group of keys."""
    parts = {field: getattr(run, field) for field in type(run).model_fields}
    return {group: part for group, part in parts.items() if isinstance(part, Probe)}


def due(run: Run, probes: Mapping[str, Probe], round: int) -> bool:
    """Whether anything is measured after this many rounds, and a record written."""
    evaluated = round % run.evaluate_every == 0 or round > run.rounds - run.evaluate_last
    measured = any(probe.due(round, run.rounds) for probe in probes.values())
    return evaluated or measured or run.diagnostics.due(round, run.rounds)


class Measures:
    """Measures the models of one run.

    Args:
        run: the description.
        federation: its data.
        task: of the run.
        statistics: of the global model's batch normalisation.
    """

    def __init__(self, run: Run, federation: Federation, task: Task, statistics: Statistics) -> None:
        self.run, self.federation, self.task, self.statistics = run, federation, task, statistics
        self.test = task.place(federation.test)
        self.probes = probes_of(run)

    def due(self, round: int) -> bool:
        """Whether anything is to be measured after this many rounds."""
        return due(self.run, self.probes, round)

    def of(self, round: int, served_P: Tensor, theta_P: Tensor, trial: Trial | None = None) -> dict[str, Any]:
        """What a record says of the model.

        Args:
            round: how many rounds are done.
            served_P: the model that is served.
            theta_P: the global model, which is the same vector unless there is an average.
            trial: for the probes.
        """
        run, statistics = self.run, self.statistics.of(served_P, theta_P)
        loss, accuracy = evaluate(self.task, served_P, self.test, *statistics)
        split = self.federation.measured
        found: dict[str, Any] = {f"{split}_accuracy": accuracy, f"{split}_loss": loss}
        if run.average.name != "none":
            found[f"raw_{split}_accuracy"] = accuracy if served_P is theta_P else self._raw(theta_P)
        if run.attack.passes:
            attacked = Store(self.test.images[: run.attack_images], self.test.labels[: run.attack_images])
            found["robust_accuracy"] = robust_accuracy(self.task, served_P, attacked, run.attack, *statistics)
        for group, probe in self.probes.items():
            if probe.due(round, run.rounds):
                snapshot = Snapshot(self.task, self.federation, round, served_P, statistics, trial)
                found[group] = probe.measure(snapshot)
        return found

    def _raw(self, theta_P: Tensor) -> float:
        return evaluate(self.task, theta_P, self.test, *self.statistics.of(theta_P, theta_P))[1]

    def partition(self) -> dict[str, Any]:
        """How the data are divided: all sizes, the labels of the first clients, and how different these are."""
        from fedsam.data.heterogeneity import describe

        shown = min(SHOWN, self.federation.clients)
        counts_KL = self.federation.label_counts(range(shown))
        described = describe(counts_KL)
        traits = self.federation.traits(range(shown))
        return {
            "clients": self.federation.clients,
            "classes": self.federation.facts.classes,
            "shown": shown,
            "examples": counts_KL.sum(axis=1).tolist(),
            "label_counts": counts_KL.tolist(),
            "measures": {name: value for name, value in described.items() if isinstance(value, float)},
            **({"skew": traits} if traits else {}),
        }

    def clients(self, round: int, served_P: Tensor, theta_P: Tensor) -> dict[str, Any] | None:
        """The served model on the local test sets of the first clients; None if they hold nothing out,
        or if the run is for tuning.

        Args:
            round, served_P, theta_P: as for `of`.
        """
        if not self.run.data.local_test or self.run.data.validation:
            return None
        tests = LocalTests(self.task, self.federation, range(min(SHOWN, self.federation.clients)))
        accuracies, losses = tests.scores(served_P, self.statistics.of(served_P, theta_P))
        return {"round": round, "examples": tests.sizes, "accuracy": accuracies, "loss": losses}
