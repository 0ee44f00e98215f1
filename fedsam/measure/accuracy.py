"""The metric that a run is judged by, on the clients' own test sets, before and after local training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fedsam.config import key
from fedsam.errors import InputError
from fedsam.measure.base import LocalProbe, Snapshot
from fedsam.measure.score import ACCURACY, Score

Values = Sequence[float | None]


class Accuracy(LocalProbe):
    """The metric of the served model on each client's local test set, before and after one round of local training;
    where clients have models of their own (FedPer), of each client's.

    After: each client trains from the served model as it would have in the round just done, with its keyed batches,
    learning rate and kept vectors, and is tested with its own weights; nothing of it is kept, so the run is the same
    with and without it. What a federation gains from local fine-tuning: Yu, Bagdasaryan and Shmatikov, "Salvaging
    federated learning by local adaptation", 2020 (arXiv 2002.04758).
    """

    threshold: float = key(0.5, "metric beyond which a client is counted as poorly served", "convention")
    limit: int = key(200, "clients that are evaluated, the first ones; each trains for a round", "convention", ge=1)

    def check(self, score: Score) -> None:
        """Of a share only a share can be the threshold.

        Raises:
            InputError: it is none.
        """
        if score.share and not 0 <= self.threshold <= 1:
            raise InputError("threshold", self.threshold, f"must be from 0 to 1, as {score.words} is")

    def measure(self, snapshot: Snapshot) -> dict[str, Any]:
        """What `summary` says of the clients `before` and `after`."""
        from fedsam.measure.local_tests import LocalTests

        ids = range(min(self.limit, snapshot.federation.clients))
        tests, score = LocalTests(snapshot.context, snapshot.federation, ids), snapshot.context.task.score
        before, _ = tests.scores(snapshot.served)
        if snapshot.adaptation is not None:
            for client, weights in snapshot.adaptation.before(tests.having, snapshot.served):
                before[client] = tests.score(client, weights)[1]
        found = {"before": self.summary(before, score)}
        if snapshot.adaptation is not None:
            after = list(before)  # a client that has nothing to train on stays with what it was sent
            for client, weights in snapshot.adaptation(tests.having, snapshot.served):
                after[client] = tests.score(client, weights)[1]
            found["after"] = self.summary(after, score)
        return found

    def summary(self, each: Values, score: Score = ACCURACY) -> dict[str, Any]:
        """Mean, population standard deviation, mean of the worst tenth (at least one client), number of clients that
        are worse than `threshold` (`below`) and number of clients, over those that have test examples, each counting
        alike; and each client's value, None for those that have none. Without any, the first three are None.
        """
        values = np.array(sorted((value for value in each if value is not None), key=score.merit))
        number = len(values)
        return {
            "mean": float(values.mean()) if number else None,
            "std": float(values.std()) if number else None,
            "worst_decile": float(values[: math.ceil(number / 10)].mean()) if number else None,
            "below": sum(score.is_better(self.threshold, value) for value in values.tolist()),
            "evaluated": number,
            score.name: list(each),
        }
