"""A small federation of made-up text: ragged, with filled-up places and prompts."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.partition.base import Partition
from fedsam.data.spec import Spec
from fedsam.data.stored import Partitioned
from fedsam.data.tokens import UNCOUNTED
from fedsam.rng import stream
from fedsam.tasks.base import Task

V, T = 11, 6
LETTERS = (*"abcdefghij", "<e>")


class Texts(Partitioned):
    """Sequences in which each token is the one before it plus 1 or 2; targets count from a place on, up to an end."""

    task: ClassVar[str | Task] = "sequence"
    offers = frozenset({"tokens"})
    clients: int = 5
    partition: Partition = key("iid", "how", "a test")
    examples: int = 37

    def read(self) -> tuple[Spec, Split, Split]:
        spec = Spec(V, (T,), dtype="int64", target_shape=(T,), vocabulary=V, names=LETTERS)
        return spec, made(self.examples, 0), made(20, 1)


class Moods(Texts):
    """The class of a sequence: whether it begins below the middle."""

    task: ClassVar[str | Task] = "classification"

    def read(self) -> tuple[Spec, Split, Split]:
        train, test = made(self.examples, 0), made(20, 1)
        splits = [Split(part.inputs, (part.inputs[:, 0] > V // 2).astype(np.int64)) for part in (train, test)]
        return Spec(2, (T,), dtype="int64", vocabulary=V), splits[0], splits[1]


def made(count: int, which: int) -> Split:
    rng = stream(which, "made-up text")
    steps = rng.integers(1, 3, size=(count, T + 1))
    steps[:, 0] = rng.integers(V, size=count)
    tokens = steps.cumsum(axis=1) % V
    targets, places = tokens[:, 1:].copy(), np.arange(T)
    begin, end = rng.integers(0, 3, size=(count, 1)), rng.integers(4, T + 1, size=(count, 1))
    targets[(places < begin) | (places >= end)] = UNCOUNTED
    return Split(tokens[:, :-1].copy(), targets)
