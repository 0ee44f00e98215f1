"""The clients' local test sets, evaluated in large batches where all clients have the same model.

Shapes: K clients, N test examples of all of them, S statistics of a metric.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from fedsam.data.base import Federation, Split
from fedsam.engine.context import DeviceSplit, RunContext
from fedsam.measure.evaluate import evaluate, per_example
from fedsam.params import Weights

Scores = list[float | None]


class LocalTests:
    """What some clients hold out, one client after the other in one store on the device.

    Args:
        context: of the run.
        federation: its data.
        ids: the clients, from 0 on.
    """

    def __init__(self, context: RunContext, federation: Federation, ids: range) -> None:
        self.context, (split, index) = context, federation.local_test(ids)
        self.sizes = [len(own) for own in index]
        self.ends = np.cumsum([0, *self.sizes])
        at = np.concatenate(index)
        self.store = context.place(Split(split.inputs[at], split.targets[at]))
        self.having = [client for client in ids if self.sizes[client]]
        """Clients that hold anything out."""

    def scores(self, weights: Weights) -> tuple[Scores, Scores]:
        """Each client's headline metric and mean loss with one model, [K]; None for clients that hold nothing out, or
        nothing with a label.
        """
        if not self.having:
            return [None] * len(self.sizes), [None] * len(self.sizes)
        losses_N, shares_N, terms_NS = per_example(self.context, weights, self.store)
        losses, shares = (np.split(each_N.cpu().numpy(), self.ends[1:-1]) for each_N in (losses_N, shares_N))
        metric, terms = self.context.task.headline, torch.split(terms_NS.cpu(), self.sizes)
        found = [
            (metric.value(metric.reduced(own).numpy()), float(loss.sum() / share.sum()))
            if share.sum()
            else (None, None)
            for own, loss, share in zip(terms, losses, shares, strict=True)
        ]
        return [one for one, _ in found], [loss for _, loss in found]

    def score(self, client: int, weights: Weights) -> tuple[float | None, float | None]:
        """One client's mean loss and headline metric with a model of its own; None where nothing has a label."""
        own = slice(self.ends[client], self.ends[client + 1])
        part = DeviceSplit(self.store.inputs[own], self.store.targets[own])
        loss, value = evaluate(self.context, weights, part)
        return (None, None) if math.isnan(value) else (loss, value)
