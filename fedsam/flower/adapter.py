"""A fedsam server strategy, with an average around it, in somebody else's Flower ServerApp.

Shapes: P parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result
from torch import Tensor

from fedsam.algorithm.strategy import Average, State, Strategy
from fedsam.config import Groups, key
from fedsam.errors import InputError, RunError, under
from fedsam.flower.form import Evaluate, Form, of_served, served
from fedsam.flower.names import PARTITION
from fedsam.schedule.base import Clock


class _Parts(Groups):
    server: Strategy = key("fedavg", "server strategy", "McMahan et al. 2017")
    average: Average = key("none", "average over rounds", "off")
    rounds: int | None = key(None, "federated rounds, T", "of `start`", ge=1)
    lr: float | None = key(None, "client learning rate", "the clients' own", gt=0.0)


class AsFlower(FedAvg):
    """Any fedsam strategy and average as a Flower strategy: `AsFlower(server=FedAvg(lr=0.7), average=SWA(cycle=5))`.

    Sampling, federated evaluation and record keys are Flower's FedAvg's. Clients are sent the raw global model; what
    is evaluated, by them and by `evaluate_fn`, and what `start` returns, is the served one, the average once it exists.

    A round does not depend on the order of the replies: they are sorted by their metric "partition-id", or by node id
    where they have none, and then a run with new node ids may differ in the last bits. Floating-point arrays go through
    the strategy together, as one vector; integer ones, such as the counters of a batch norm, become their weighted
    mean, rounded. Names, shapes and types stay those of the arrays that were sent.

    Args:
        server: a strategy, its name, or a mapping of its keys with a "name".
        average: likewise.
        rounds: T, for strategies that depend on it; `start` sets it.
        lr: the clients' learning rate; clients find it, as the average changes it, in `config["lr"]`. Without it a
            cyclic learning rate is the clients' own affair.
        fedavg: what Flower's FedAvg takes.

    Raises:
        InputError: a part or a value that cannot be used.
    """

    def __init__(
        self,
        server: Strategy | str | dict[str, Any] = "fedavg",
        average: Average | str | dict[str, Any] = "none",
        rounds: int | None = None,
        lr: float | None = None,
        **fedavg: Any,
    ) -> None:
        given: dict[str, Any] = {"server": server, "average": average, "rounds": rounds, "lr": lr}
        parts = _Parts(**given)
        self.server, self.average, self.rounds, self.lr = parts.server, parts.average, parts.rounds, parts.lr
        if not self.server.plain:
            allowed = "its clients do more than train, which other ClientApps do not know; run fedsam's own Flower app"
            raise InputError("server.name", self.server.name, allowed)
        super().__init__(**fedavg)
        self._begin(self.rounds)

    def _begin(self, rounds: int | None) -> None:
        """Start anew, with this total of rounds."""
        self._sent: ArrayRecord | None = None
        self._server: State | None = None
        self._average: State = {}
        self._rounds = rounds
        if rounds is not None:
            with under("average"):
                self.average.check(rounds)

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int | None = None,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Evaluate | None = None,
    ) -> Result:
        """Flower's own `start`, from a fresh state; `evaluate_fn` is given, and the result holds, the served model.

        Raises:
            InputError: no number of rounds, or not that of the constructor.
        """
        rounds = self.rounds if num_rounds is None else num_rounds
        if rounds is None or (self.rounds or rounds) != rounds:
            allowed = "must be the total of rounds" + (f", {self.rounds} for this strategy" if self.rounds else "")
            raise InputError("num_rounds", num_rounds, allowed)
        self._begin(rounds)

        evaluate = of_served(evaluate_fn, self._served)
        result = super().start(grid, initial_arrays, rounds, timeout, train_config, evaluate_config, evaluate)
        if result.arrays:
            result.arrays = self._served(result.arrays)
        return result

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """FedAvg's messages, with the round's learning rate as `config["lr"]`."""
        self._sent = arrays
        if self.lr is not None:
            config["lr"] = self.average.lr(self.lr, self._clock(server_round))
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The strategy's step from the replies that came; the raw model, or None if none came.

        Raises:
            RunError: nothing was sent, or a reply is not of the model that was.
        """
        clock, sent = self._clock(server_round), self._sent
        if sent is None:
            raise RunError("configure_train must come before aggregate_train")
        form = Form.of(sent)
        sent_P = form.theta(sent)
        if self._server is None:
            self._server = self.server.init(sent_P)
        valid, _ = self._check_and_log_replies(replies, is_train=True)
        rows = [row for row in sorted(map(self._row, valid), key=lambda row: row.place) if row.examples > 0]
        if not rows:
            self._average = self.average.update(sent_P, sent_P, self._average, clock)
            return None, None
        total = sum(row.examples for row in rows)

        def updates() -> Iterator[tuple[Tensor, Tensor]]:
            for row in rows:
                try:
                    delta_P = form.theta(row.arrays) - sent_P
                except InputError as error:
                    raise RunError(
                        f"round {server_round}: reply of node {row.message.metadata.src_node_id}: {error}"
                    ) from None
                yield delta_P[None], torch.tensor([row.examples / total], dtype=sent_P.dtype)

        theta_P, self._server = self.server.step(sent_P, updates(), self._server, clock)
        self._average = self.average.update(sent_P, theta_P, self._average, clock)
        whole = {
            name: np.rint(sum(row.examples / total * row.arrays[name].numpy() for row in rows)) for name in form.whole
        }
        metrics = self.train_metrics_aggr_fn([row.message.content for row in rows], self.weighted_by_key)
        return form.arrays(theta_P, whole), metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """FedAvg's messages, with the served model."""
        return super().configure_evaluate(server_round, self._served(arrays), config, grid)

    def _clock(self, server_round: int) -> Clock:
        if self._rounds is None:
            raise InputError("rounds", InputError.ABSENT, "must be given where start is not called")
        return Clock(server_round - 1, self._rounds)

    def _row(self, message: Message) -> _Row:
        metrics = next(iter(message.content.metric_records.values()))
        place = float(metrics.get(PARTITION, 0)), message.metadata.src_node_id  # type: ignore[arg-type]
        arrays = next(iter(message.content.array_records.values()))
        return _Row(place, float(metrics[self.weighted_by_key]), arrays, message)  # type: ignore[arg-type]

    def _served(self, arrays: ArrayRecord) -> ArrayRecord:
        """The model to evaluate and keep, from the raw one."""
        return served(Form.of(arrays), arrays, self.average, self._average)


@dataclass(frozen=True)
class _Row:
    """A reply: where it comes in the sum, its weight, its arrays."""

    place: tuple[float, int]
    examples: float
    arrays: ArrayRecord
    message: Message
