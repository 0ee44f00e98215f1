"""Data sets that are held in memory and divided by a partition.

Shapes: N examples, K clients asked for, L classes.
"""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsam.config import key
from fedsam.data import unseen
from fedsam.data.base import Dataset, Federation, Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.intakes import intake_of
from fedsam.data.label_noise import with_label_noise
from fedsam.data.partition.base import Assignment, Partition
from fedsam.data.skew.base import Skew
from fedsam.data.spec import Spec
from fedsam.data.unseen import Groups
from fedsam.errors import InputError
from fedsam.measure.names import TEST
from fedsam.rng import stream
from fedsam.storage.paths import expanded

if TYPE_CHECKING:
    from fedsam.data.keys import DivisionKeys
else:
    DivisionKeys = object


class StoredFederation(Federation):
    """One array of examples, and the places of each client's own in it.

    Args:
        spec: of the data set.
        train: all training examples; also the store of what is held out, whose labels are true.
        test: the global test set.
        own: each client's training examples.
        held_out: each client's local test set.
        skew: what was done to the images of `train`, client by client.
        seed: by which the skew is keyed.
        further: more test sets, by name.
        natural: whether each client is made of whole groups.
    """

    def __init__(
        self,
        spec: Spec,
        train: Split,
        test: Split,
        own: Assignment,
        held_out: Assignment,
        skew: Skew | None = None,
        seed: int = 0,
        further: Mapping[str, Split] | None = None,
        natural: bool = False,
    ) -> None:
        self.spec, self.clients, self.further = spec, own.clients, further or {}
        self._natural = natural
        self._skew, self._seed = skew, seed
        self.train, self.test = train, test
        self._own, self._held_out = own, held_out
        self._sizes = own.sizes()

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        """Training examples of each of these clients, int64 [K]."""
        return self._sizes[np.asarray(ids, dtype=np.int64)]

    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """All training examples, and the positions of each client's own."""
        return self.train, [self._own.of_client(k) for k in ids]

    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """All training examples, and the positions of what each client holds out."""
        return self.train, [self._held_out.of_client(k) for k in ids]

    def groups_of(self, ids: Sequence[int]) -> list[list[str]]:
        """Those of each client's training examples, where clients are made of whole groups."""
        groups_N = self.train.groups
        if not self._natural or groups_N is None:
            return []
        return [[self.spec.groups[at] for at in np.unique(groups_N[self._own.of_client(k)])] for k in ids]

    def traits(self, ids: Sequence[int]) -> dict[str, Any]:
        """What sets the images of each of these clients apart."""
        images = self._skew is not None and isinstance(self.spec, ImageSpec)
        return self._skew.table(self._seed, ids, self.spec.shape[2]) if self._skew and images else {}


log = logging.getLogger("fedsam")

Strata = Callable[[np.ndarray], np.ndarray | None]


@dataclass(frozen=True)
class Division:
    """Examples, and which of them each client has.

    Args:
        train, test: as they are left, the training labels with noise.
        further: more test sets, by name.
        whole: all training examples of each client.
        own: those that it trains on.
        held_out: those of its local test set.
        natural: whether each client is made of whole groups.
    """

    train: Split
    test: Split
    further: dict[str, Split]
    whole: Assignment
    own: Assignment
    held_out: Assignment
    natural: bool


class Partitioned(Dataset, DivisionKeys):
    """A data set that is read whole and divided by a partition."""

    partition: Partition = key(
        "dirichlet", "how the training examples are divided among the clients", "Caldarola et al. 2022"
    )
    samples_per_client: int | None = key(
        None,
        "examples of each client; none = all are divided, the last clients of a Dirichlet partition get what is left",
        "convention",
        ge=1,
    )

    unseen: Groups = key(
        "",
        "users or domains held out from training, how many or their names: all their examples are a test set of their"
        " own, `unseen`",
        "off",
    )

    skew: Skew = key("none", "what sets one client's images apart from another's; the test set stays as it is", "off")

    @property
    def fixed_clients(self) -> int | None:
        """How many clients there will be; None where the partition makes them of the data."""
        return None if self.partition.counts else self.clients

    def required(self) -> dict[str, frozenset[str]]:
        """Groups are needed where some are held out."""
        return {**super().required(), **({"unseen": frozenset({"groups"})} if self.unseen else {})}

    @abstractmethod
    def read(self) -> tuple[Spec, Split, Split]:
        """What a model must know, training and test examples.

        Raises:
            InputError: a file is missing or unusable.
        """

    def load(self, seed: int) -> Federation:
        """Read the data, hold out groups (`unseen`), divide what is left, change each client's images (`skew`), hold
        out each client's local test set, and replace labels of what is left.

        Partition and hold-out go by the true labels: label noise changes neither which examples a client has nor how
        heterogeneous the clients are. It is one draw over all examples that clients train on, so a client's own share
        of wrong labels varies; those that are held out, or that no client has, keep theirs.
        """
        partition = self.dividing()
        spec, train, test = self._taken()
        try:
            self.learnt.check_targets(train.targets)
        except InputError as error:
            raise InputError("name", self.name, f"task.name={self.learnt.name} {error.allowed}") from None
        division = self.divided(partition, spec, train, test, self.learnt.strata, seed)
        train, own = division.train, division.own
        if isinstance(spec, ImageSpec):
            images = self.skew.store(train.inputs, division.whole, seed, spec.scale)
            if images is not train.inputs:
                train = replace(train, inputs=images).read_only()
        about = self.skew, seed, division.further, division.natural
        return StoredFederation(spec, train, division.test, own, division.held_out, *about)

    def divided(
        self, partition: Partition, spec: Spec, train: Split, test: Split, strata_of: Strata, seed: int
    ) -> Division:
        """As for `load`, of examples of which only targets and groups are looked at.

        Args:
            partition: of `dividing`.
            spec, train, test: as they were read.
            strata_of: gives the class that examples are told apart by, from their targets.
            seed: of the run.

        Raises:
            InputError: the partition, the hold-out or the label noise is impossible.
        """
        there = len(train)
        train, test, further = self._parted(spec, train, test, seed)
        if partition.positions and len(train) < there:
            told = "its positions count the %s training examples that data.unseen leaves of %s"
            log.warning(f"data.partition={partition.name}: {told}", len(train), there)
        partition = partition.of_groups(train.groups, spec.groups)
        if "groups" in partition.requires and not self.validation:
            _tell_of_testers(train, test, spec.groups)
        strata = strata_of(train.targets)
        classes = np.zeros(len(train), dtype=np.int64) if strata is None else strata
        said = self.clients != type(self).model_fields["clients"].default
        clients = 0 if partition.counts and not said else self.clients
        own = partition.assign(classes, clients, self.samples_per_client, stream(seed, "partition"))
        self._check(own, len(train))
        whole = own
        held_out = Assignment(np.empty(0, dtype=np.int64), np.zeros(own.clients + 1, dtype=np.int64))
        if self.local_test:
            own, held_out = self._hold_out(classes, own, seed)
        if self.label_noise:
            if spec.classes is None or strata is None:
                raise InputError("label_noise", self.label_noise, "needs targets that are classes; set 0")
            at, rng = np.sort(own.index), stream(seed, "label noise")
            labels = with_label_noise(strata, at, self.label_noise, self.label_noise_kind, spec.classes, rng)
            train = replace(train, targets=labels).read_only()
        return Division(train, test, further, whole, own, held_out, "groups" in partition.requires)

    def _taken(self) -> tuple[Spec, Split, Split]:
        """What is read, in the right form."""
        found: Any = self.read()
        if not isinstance(found, tuple | list) or len(found) != 3:
            told = f"its read() gave {type(found).__name__}, must be Spec, training Split, test Split"
            raise InputError("name", self.name, told)
        intake = intake_of(self.name, found[0])
        train = intake.split(found[1], "training")
        # a run for tuning does not as much as look at the test set
        return intake.spec, train, found[2] if self.validation else intake.split(found[2], TEST)

    def _parted(self, spec: Spec, train: Split, test: Split, seed: int) -> tuple[Split, Split, dict[str, Split]]:
        """Training examples and test sets; a run for tuning looks at no test set."""
        if not self.unseen:
            return train, test, {}
        out = unseen.chosen(self.unseen, spec.groups, train, None if self.validation else test, seed)
        further = {}
        if not self.validation:
            test, further[unseen.NAME] = unseen.part_tests(train, test, out, self.unseen)
        return unseen.part(train, out), test, further

    def _check(self, own: Assignment, examples: int) -> None:
        index = own.index
        if not len(index):
            raise InputError("partition", self.partition.name, "no client has an example")
        if index.dtype.kind not in "iu" or index.min() < 0 or index.max() >= examples:
            wrong = index.dtype if index.dtype.kind not in "iu" else index.min() if index.min() < 0 else index.max()
            told = f"gives a client the position {wrong}; there are {examples} training examples, from 0 on"
            raise InputError("partition", self.partition.name, told)

    def dividing(self) -> Partition:
        """The partition, ready to be used."""
        return self.partition

    def _hold_out(self, labels: np.ndarray, own: Assignment, seed: int) -> tuple[Assignment, Assignment]:
        """What each client trains on, and what it holds out."""
        kept, held_out = [], []
        for k in range(own.clients):
            index = own.of_client(k)
            out = hold_out(labels[index], self.local_test, stream(seed, "local_test", client=k))
            kept.append(index[~out])
            held_out.append(index[out])
        return Assignment.of(kept), Assignment.of(held_out)


class Stored(Partitioned):
    """A data set that is read from files under a folder."""

    root: str | None = key(
        None, "folder of the data sets; none = $FEDSAM_DATA, else ~/.cache/fedsam", "convention", path=True
    )

    def folder(self) -> Path:
        """Where the files are looked for."""
        return data_folder(self.root)

    def dividing(self) -> Partition:
        """The partition; index lists are looked for in the folder and in its `<name>/splits` too."""
        return self.partition.looking_in(self.folder(), self.folder() / self.name / "splits")


def data_folder(root: str | None = None) -> Path:
    """The folder of the data sets: `root`, else $FEDSAM_DATA, else ~/.cache/fedsam."""
    return expanded(root or os.environ.get("FEDSAM_DATA") or "~/.cache/fedsam", "root")


def held_out_size(examples: int, share: float) -> int:
    """How many of a client's examples are held out: round(share · N), but at least one is left for training."""
    return max(0, min(round(share * examples), examples - 1))


def hold_out(labels_N: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Which of a client's examples are its local test set, bool [N], with the label skew of the whole.

        n_l = ⌊m N_l / N⌋, and the largest remainders get one more until Σ n_l = m = `held_out_size`

    Hamilton's method; ties are drawn by lot, or the first classes would always win them. Which examples of a class are
    held out is random too.

    Args:
        labels_N: classes of the client's examples.
        share: of the examples, below 1.
        rng: the client's stream for this purpose.
    """
    return stratified(labels_N, held_out_size(len(labels_N), share), rng)


def stratified(labels_N: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """`hold_out` of so many examples, bool [N]."""
    chosen_N = np.zeros(len(labels_N), dtype=bool)
    if total == 0:
        return chosen_N
    classes, counts_L = np.unique(labels_N, return_counts=True)
    take_L, remainder_L = np.divmod(counts_L * total, len(labels_N))
    largest_first = np.lexsort((rng.random(len(classes)), -remainder_L))
    take_L[largest_first[: total - take_L.sum()]] += 1
    for label, number in zip(classes, take_L, strict=True):
        chosen_N[rng.permutation(np.flatnonzero(labels_N == label))[:number]] = True
    return chosen_N


def _tell_of_testers(train: Split, test: Split, names: tuple[str, ...]) -> None:
    """Say which groups cannot be clients, for they have nothing to train on; where none that is tested on has, as the
    cities of Cityscapes, it is meant.
    """
    if train.groups is None or test.groups is None:
        return
    alone = np.setdiff1d(test.groups, train.groups)
    if 0 < len(alone) < len(np.unique(test.groups)):
        few = ", ".join(names[at] for at in alone[:3]) + (", ..." if len(alone) > 3 else "")
        log.warning("%d groups have test examples alone and are no clients: %s", len(alone), few)
