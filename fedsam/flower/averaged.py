"""An average over rounds around any Flower strategy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from fedsam.algorithm.strategy import Average, State
from fedsam.config import Groups, key
from fedsam.errors import InputError, under
from fedsam.flower.form import Evaluate, Form, of_served, served
from fedsam.schedule.base import Clock


class _Parts(Groups):
    average: Average = key("swa", "average over rounds", "Caldarola et al. 2022")
    rounds: int | None = key(None, "federated rounds, T", "of `start`", ge=1)
    lr: float | None = key(None, "client learning rate", "the clients' own", gt=0.0)


class Averaged(Strategy):
    """Any Flower strategy with SWA, EMA or WiMA around it: `Averaged(FedAdam(), SWA(cycle=5), lr=0.1)`.

    Sampling, aggregation and records are the strategy's. Clients are sent its model; what is evaluated, by them and by
    `evaluate_fn`, and what `start` returns, is the average once it exists. Arrays of whole numbers, such as the
    counters of a batch norm, are the strategy's own.

    Args:
        strategy: as Flower has it, fresh.
        average: of `fedsam.strategies`, its name, or a mapping of its keys with a "name".
        rounds: T, for averages that depend on it; `start` sets it.
        lr: the clients' learning rate; clients find it, as the average changes it, in `config["lr"]`. Without it a
            cyclic learning rate is the clients' own affair.

    Raises:
        InputError: a part or a value that cannot be used.
    """

    def __init__(
        self,
        strategy: Strategy,
        average: Average | str | dict[str, Any] = "swa",
        rounds: int | None = None,
        lr: float | None = None,
    ) -> None:
        given: dict[str, Any] = {"average": average, "rounds": rounds, "lr": lr}
        parts = _Parts(**given)
        if type(strategy).start is not Strategy.start:
            told = "has a `start` of its own, which would leave the average out; give one that has Flower's"
            raise InputError("strategy", type(strategy).__name__, told)
        self.strategy, self.average, self.rounds, self.lr = strategy, parts.average, parts.rounds, parts.lr
        self._begin(parts.rounds)

    def _begin(self, rounds: int | None) -> None:
        """Start anew, with this total of rounds."""
        self._sent: ArrayRecord | None = None
        self._form: Form | None = None  # the first model's: Flower's mean of whole numbers is no whole number
        self._state: State = {}
        self._rounds = rounds
        if rounds is not None:
            with under("average"):
                self.average.check(rounds)

    def _clock(self, server_round: int) -> Clock:
        if self._rounds is None:
            raise InputError("rounds", InputError.ABSENT, "must be given where start is not called")
        return Clock(server_round - 1, self._rounds)

    def served(self, arrays: ArrayRecord) -> ArrayRecord:
        """The model to evaluate and keep, from the strategy's."""
        return arrays if self._form is None else served(self._form, arrays, self.average, self._state)

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Evaluate | None = None,
    ) -> Result:
        """Flower's own `start`, from a fresh average; `evaluate_fn` is given, and the result holds, the average.

        Raises:
            InputError: not the number of rounds of the constructor, or one in which nothing would be averaged.
        """
        if (self.rounds or num_rounds) != num_rounds:
            raise InputError("num_rounds", num_rounds, f"must be {self.rounds}, the rounds of this average")
        self._begin(num_rounds)

        evaluate = of_served(evaluate_fn, self.served)
        result = super().start(grid, initial_arrays, num_rounds, timeout, train_config, evaluate_config, evaluate)
        if result.arrays:
            result.arrays = self.served(result.arrays)
        return result

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The strategy's messages, with the round's learning rate as `config["lr"]`."""
        self._sent, self._form = arrays, self._form or Form.of(arrays)
        if self.lr is not None:
            config["lr"] = self.average.lr(self.lr, self._clock(server_round))
        return self.strategy.configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The strategy's model, which the average is told of; a round without one ends in the model that was sent."""
        arrays, metrics = self.strategy.aggregate_train(server_round, replies)
        if self._sent is not None and self._form is not None:
            sent_P = self._form.theta(self._sent)
            ended_P = sent_P if arrays is None else self._form.theta(arrays)
            self._state = self.average.update(sent_P, ended_P, self._state, self._clock(server_round))
        return arrays, metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The strategy's messages, with the average."""
        return self.strategy.configure_evaluate(server_round, self.served(arrays), config, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """The strategy's."""
        return self.strategy.aggregate_evaluate(server_round, replies)

    def summary(self) -> None:
        """The strategy's."""
        self.strategy.summary()
