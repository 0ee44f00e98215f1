"""What a run tells while it goes on, and what it ends in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from fedsam.measure.names import further_of, headline_of, loss_of, split_of, value_of
from fedsam.run import Run
from fedsam.runs.records import Record
from fedsam.runs.shown import Shown

if TYPE_CHECKING:
    from fedsam.reports.sheet import Sheet


class Listener:
    """Told of a run's progress; the default does nothing."""

    def started(self, run: Run, engine: str, reason: str, done: int) -> None:
        """The run begins, after `done` rounds that are there already."""

    def round(self, done: int) -> None:
        """That many rounds are done."""

    def recorded(self, record: Record) -> None:
        """A round was evaluated."""

    def finished(self, result: Result) -> None:
        """The run has come to its end."""


class Several(Listener):
    """Tells several listeners, in their order."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.listeners = listeners

    def started(self, run: Run, engine: str, reason: str, done: int) -> None:
        """As a listener is told."""
        for listener in self.listeners:
            listener.started(run, engine, reason, done)

    def round(self, done: int) -> None:
        """As a listener is told."""
        for listener in self.listeners:
            listener.round(done)

    def recorded(self, record: Record) -> None:
        """As a listener is told."""
        for listener in self.listeners:
            listener.recorded(record)

    def finished(self, result: Result) -> None:
        """As a listener is told."""
        for listener in self.listeners:
            listener.finished(result)


@dataclass(frozen=True, repr=False)
class Result(Shown):
    """A finished run.

    Args:
        run: its description.
        metrics: the recorded rounds, as in metrics.jsonl.
        engine: the engine that trained the clients.
        digest: sha256 of the served model as a safetensors file (of model.safetensors, where there is a run directory).
        state: the served model, by parameter name.
        out: the run directory, if there is one.
    """

    run: Run
    metrics: list[Record]
    engine: str
    digest: str
    state: dict[str, Tensor]
    out: Path | None

    @property
    def seconds_per_round(self) -> float:
        """Mean wall clock of a round, evaluation apart."""
        return float(sum(record["seconds"] for record in self.metrics)) / self.run.rounds

    def rows(self) -> list[dict[str, Any]]:
        """The recorded rounds."""
        return self.metrics

    def headline(self) -> str:
        """The last value of the metric, and of what run."""
        last, score = self.metrics[-1], self.run.learnt.score
        reached = f"{split_of(last)} {score.words} {score.text(value_of(last))}"
        where = f", in {self.out}" if self.out else ""
        return f"{self.run.title()}: {reached} after {last['round']} rounds{where}"

    def plot(self) -> Sheet:
        """The headline metric against rounds."""
        from fedsam.reports.curves import curves

        run = self.run
        clients = run.data.fixed_clients
        who = f"{clients} clients" if clients else "a client for each group"
        about = f"{run.data.name}, {who}, {run.cohort} per round"

        return curves({run.client.name: {run.seed: self.metrics}}, run.learnt.score, about)

    def summary(self) -> dict[str, Any]:
        """The result as plain JSON types."""
        last = self.metrics[-1]
        split, name = split_of(last), headline_of(last)
        return {
            "out": str(self.out) if self.out else None,
            "rounds": self.run.rounds,
            f"{split}_{name}": value_of(last),
            f"raw_{split}_{name}": last.get(f"raw_{split}_{name}", value_of(last)),
            f"{split}_loss": loss_of(last),
            **{key: last[key] for other in further_of(last) for key in (f"{other}_{name}", f"{other}_loss")},
            **{robust: last[robust] for robust in (f"robust_{name}",) if robust in last},
            "seconds_per_round": self.seconds_per_round,
            "engine": self.engine,
            "digest": self.digest,
        }
