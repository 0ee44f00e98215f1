"""What a data set is: inputs and targets, divided among clients.

Shapes: N examples, H height, W width, C channels, K clients asked for, L classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from fedsam.border.budget import Need
from fedsam.config import Component, key, resolve
from fedsam.data.augment.base import Augment
from fedsam.data.digest import digest, joined
from fedsam.data.label_noise import NoiseKind
from fedsam.data.spec import Spec
from fedsam.measure.names import TEST
from fedsam.tasks.base import Task

if TYPE_CHECKING:
    from fedsam.data.augment.keys import AugmentKeys
else:
    AugmentKeys = object


@dataclass(frozen=True)
class Split:
    """Examples: what a model is given, and what it is to answer.

    Args:
        inputs: [N, ...] of any type; of images uint8 [N, H, W, C], so that a batch is one gather of whole rows.
        targets: [N, ...] of any type; of classes int64 [N].
        groups: the user, domain or city that each example comes from, int64 [N], a position in `Spec.groups`; None
            where that is not known.
    """

    inputs: np.ndarray
    targets: np.ndarray
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def read_only(self) -> Split:
        """The same split; writing to its arrays is an error from now on, so that several runs can share it."""
        self.inputs.flags.writeable = self.targets.flags.writeable = False
        if self.groups is not None:
            self.groups.flags.writeable = False
        return self

    def at(self, positions: np.ndarray) -> Split:
        """The examples at these positions, copied."""
        groups = None if self.groups is None else self.groups[positions]
        return Split(self.inputs[positions], self.targets[positions], groups).read_only()

    def with_(self, other: Split) -> Split:
        """These examples, and after them others of the same data set."""
        inputs, targets = (
            np.concatenate(pair) for pair in ((self.inputs, other.inputs), (self.targets, other.targets))
        )
        known = self.groups is not None and other.groups is not None
        return Split(inputs, targets, np.concatenate([self.groups, other.groups]) if known else None).read_only()


Lists = Callable[[Sequence[int]], tuple[Split, list[np.ndarray]]]
SOME = 1000
"""Clients whose sizes stand for those of all."""


class Federation(ABC):
    """A loaded data set, divided among clients."""

    spec: Spec
    clients: int
    test: Split
    ahead: bool = False
    """Whether it is of use to say which clients will be asked for next; see `expect`."""
    task: str | Task = "classification"
    """The data set's own task, by whose `strata` examples are told apart."""
    measured: str = TEST
    """What `test` is, and with it the first word of what records say of it."""
    further: Mapping[str, Split] = MappingProxyType({})
    """More test splits, by the first word of what records say of them: `unseen`, of domains that no client has."""

    @abstractmethod
    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        """Training examples of each of these clients, int64 [K]."""

    @abstractmethod
    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """A store of training examples, and for each of these clients the positions of its own in that store, int64.

        The store is the same object as long as its content is the same, so that an engine can keep it on the device.
        """

    @abstractmethod
    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """As `examples`, for what each client holds out as its local test set (empty if `data.local_test` is 0).

        Its labels are true whatever `data.label_noise` is.
        """

    def expect(self, ids: Sequence[int]) -> None:  # noqa: B027
        """These clients will be asked for soon, so that what takes long can begin; the default does nothing."""

    def targets(self, ids: Sequence[int]) -> list[np.ndarray]:
        """The targets that each of these clients trains on."""
        store, index = self.examples(ids)
        return [store.targets[own] for own in index]

    def gathered(self, ids: Sequence[int], chosen: Sequence[np.ndarray]) -> Split:
        """Some training examples of each of these clients, one client after the other.

        Args:
            chosen: of each client, which of its examples, bool [N].
        """
        store, index = self.examples(ids)
        return store.at(np.concatenate([own[some] for own, some in zip(index, chosen, strict=True)]))

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """The class of each example that hold-outs go by, int64 [N]; one for all where the task has none."""
        task: Task = resolve(Task, self.task)
        found = task.strata(targets)
        return np.zeros(len(targets), dtype=np.int64) if found is None else found

    def label_counts(self, ids: Sequence[int]) -> np.ndarray:
        """Training examples of each class at each of these clients, int64 [K, L]; L = 1 where there are none.

        Counts the labels that clients train on: with `data.label_noise` the noisy ones.
        """
        classes = self.spec.classes or 1
        return np.stack([np.bincount(self.strata(own), minlength=classes) for own in self.targets(ids)])

    def groups_of(self, ids: Sequence[int]) -> list[list[str]]:
        """The names of the users or domains of which each of these clients is made; empty if clients are no such."""
        return []

    def traits(self, ids: Sequence[int]) -> dict[str, Any]:
        """What sets the inputs of each of these clients apart (`data.skew`), a list [K] by name; empty if nothing."""
        return {}

    @cached_property
    def digests(self) -> dict[str, str]:
        """Checksums of what was divided and how, by a name in words: a run that is resumed must find them unchanged.

        Where all clients share one store it is summed whole, with every client's positions in it. Where examples are
        made when they are asked for, those of a few clients stand for all. What cannot be read is left out: that is the
        affair of the round that needs it.
        """
        parts: dict[str, Callable[[], str]] = {
            "classes, shape and scale of the images": lambda: digest(self.clients, self.spec.plain()),
            f"{self.measured} examples": partial(_digest, self.test),
            **{f"{name} examples": partial(_digest, split) for name, split in self.further.items()},
            "training examples of the clients": lambda: self._summed(self.examples),
            "local test examples of the clients": lambda: self._summed(self.local_test, self.examples([0])[0]),
        }
        found = {}
        for name, part in parts.items():
            with suppress(Exception):
                found[name] = part()
        return found

    def _summed(self, lists: Lists, known: Split | None = None) -> str:
        """Args: `known` is a store that was summed already."""
        last = self.clients - 1
        if (store := lists([0])[0]) is lists([last])[0]:
            at, sizes_K = joined(lists(range(self.clients))[1])
            return digest(at, sizes_K) if store is known else digest(at, sizes_K, store.inputs, store.targets)
        store, index = lists(sorted({0, 1, last}))
        at, sizes_K = joined(index)
        return digest(store.inputs[at], store.targets[at], sizes_K, self.sizes(range(min(self.clients, SOME))))


def _digest(split: Split) -> str:
    return digest(split.inputs, split.targets)


class Dataset(Component, AugmentKeys):
    """A data set and how it is divided. `load` does the work; the object itself is only the description."""

    kind: ClassVar[str] = "data set"
    package: ClassVar[str] = "fedsam.data"

    task: ClassVar[str | Task] = "classification"
    """What it is for, unless `task.name` says otherwise."""
    offers: ClassVar[frozenset[str]] = frozenset({"images"})
    """What other components may need of it: `images`, inputs [H, W, C] with an `ImageSpec`; `groups`, that it is known
    which user or domain each example comes from."""

    _task: Task | None = None

    clients: int = key(100, "number of clients", "Caldarola et al. 2022, CIFAR-10", ge=1, le=10**7)
    augment: Augment = key("none", "augmentation of training batches, on the device", "off")
    local_test: float = key(
        0.0, "share of each client's examples held out as its local test set, same label skew", "off", ge=0.0, lt=1.0
    )
    validation: float = key(
        0.0,
        "share of each client's training examples held out for tuning; above 0 a run is measured on these examples"
        " alone, and never on the test set",
        "off",
        ge=0.0,
        le=0.5,
    )
    label_noise: float = key(
        0.0,
        "share of the training labels that are replaced by wrong ones; test labels stay true",
        "off; Kwon et al. 2021 test 0.2 to 0.8",
        ge=0.0,
        lt=1.0,
    )
    label_noise_kind: NoiseKind = key(
        "symmetric",
        "what replaces them: symmetric = any other class, all alike; asymmetric = the next class",
        "Kwon et al. 2021",
    )
    pixels: Literal["standard", "symmetric", "unit"] = key(
        "standard",
        "how pixels enter the model: standard = by the data set's mean and deviation; symmetric = from -1 to 1; unit ="
        " from 0 to 1",
        "Caldarola et al. 2022; the others in Coldenhoff et al. 2022",
    )

    def required(self) -> dict[str, frozenset[str]]:
        """Label noise needs one class for each example, and another way of showing pixels needs images."""
        noise = {"label_noise": frozenset({"classes", "single labels"})} if self.label_noise else {}
        pixels = {"pixels": frozenset({"images"})} if self.pixels != "standard" else {}
        return {**super().required(), **noise, **pixels}

    @property
    def fixed_clients(self) -> int | None:
        """How many clients there will be; None where only the data will tell."""
        return self.clients

    def learning(self, task: Task) -> Self:
        """The same data set, for a task that the run chose."""
        other = self.model_copy()
        other._task = task
        return other

    @property
    def learnt(self) -> Task:
        """The task in force."""
        own: Task = resolve(Task, self.task)
        return self._task or own

    def needs(self, clients: int) -> list[Need]:
        """What must be in memory before and in a round with so many clients, beyond the files that are read."""
        return []

    @abstractmethod
    def load(self, seed: int) -> Federation:
        """Read or generate the data and divide it among the clients.

        Args:
            seed: the run's seed; partition, hold-out and label noise are keyed by it.

        Raises:
            InputError: a file is missing or unusable, or the partition or the label noise is impossible.
        """


def __getattr__(name: str) -> Any:
    if name == "Facts":  # as it was called while there was nothing but images
        from fedsam.data.images.spec import ImageSpec

        return ImageSpec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
