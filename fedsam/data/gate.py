"""A federation of somebody's own behind the check: what it gives is looked at when it is read, a store once.

Shapes: K clients asked for, L classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from fedsam.data.base import Federation, Split
from fedsam.data.intakes import intake_of
from fedsam.data.plain_array import Unfit, as_array, as_numbers
from fedsam.data.spec import Spec
from fedsam.errors import ClientError, InputError
from fedsam.measure.names import TEST, VALIDATION

LOCAL = "local test"
TAKEN = (TEST, VALIDATION, "train", "raw", "robust")
"""First words of what records say."""


class Gate(Federation):
    """The same federation, whose arrays have the right form (see `fedsam.data.intake`). No client is read
    before it is asked for.

    Args:
        whole: as its data set loaded it.
        name: of the data set.
        sealed: whether its test set is out of reach, so that it is not looked at.

    Raises:
        InputError: its facts, its test set or its number of clients cannot be.
    """

    def __init__(self, whole: Federation, name: str, sealed: bool = False) -> None:
        self._whole, self._name = whole, name
        self._intake = intake_of(name, whole.spec)
        self.test, self.measured = whole.test, whole.measured
        if not sealed:
            self.test = self._intake.split(whole.test, whole.measured)
        self.further = {} if sealed else self._further(whole.further)
        self._read: dict[str, tuple[Any, Split]] = {}
        try:
            self.clients = int(as_numbers(as_array(whole.clients)))
        except (Unfit, TypeError):
            self.clients = 0
        if self.clients < 1:
            told = f"its federation has {whole.clients!r} clients, must be a whole number, at least 1"
            raise InputError("name", name, told)

    @property
    def spec(self) -> Spec:  # type: ignore[override]
        """In the right form."""
        spec: Spec = self._intake.spec
        return spec

    def __getattr__(self, name: str) -> Any:  # what the federation has beside
        if name == "_whole":
            raise AttributeError(name)
        return getattr(self._whole, name)

    def look(self) -> None:
        """Read the first client. Whether one can be read at all is the affair of its round.

        Raises:
            InputError: what it has cannot be used.
        """
        for ask in (self.examples, self.local_test):
            try:
                ask([0])
            except InputError as error:
                raise InputError("name", self._name, error.allowed) from None
            except Exception:  # of somebody's own
                continue

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        """Training examples of each of these clients, int64 [K]."""
        try:
            found = as_numbers(as_array(self._whole.sizes(ids)))
        except Unfit as error:
            self._refuse(f"its sizes are {error}, must be whole numbers")
        if found.shape != (len(ids),) or (len(ids) and found.min() < 0):
            self._refuse(f"it gave sizes of shape {list(found.shape)} for {len(ids)} clients, must be one each, from 0")
        return found

    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """As of the federation, in the right form."""
        store, index = self._looked_at("training", self._whole.examples(ids), ids)
        for client, own, size in zip(ids, index, self.sizes(ids), strict=True):
            if len(own) != size:
                self._refuse(f"client {client} has {len(own)} training examples, but sizes() says {size}")
        return store, index

    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """As of the federation, in the right form."""
        return self._looked_at(LOCAL, self._whole.local_test(ids), ids)

    @property
    def ahead(self) -> bool:  # type: ignore[override]
        """As of the federation."""
        return self._whole.ahead

    def expect(self, ids: Sequence[int]) -> None:
        """As of the federation."""
        self._whole.expect(ids)

    def label_counts(self, ids: Sequence[int]) -> np.ndarray:
        """As of the federation; where it does not count itself, what it gives is counted."""
        own = type(self._whole).label_counts is not Federation.label_counts
        return np.asarray(self._whole.label_counts(ids)) if own else super().label_counts(ids)

    def groups_of(self, ids: Sequence[int]) -> list[list[str]]:
        """As of the federation."""
        return self._whole.groups_of(ids)

    def traits(self, ids: Sequence[int]) -> dict[str, Any]:
        """As of the federation."""
        return self._whole.traits(ids)

    def _further(self, given: Any) -> dict[str, Split]:
        """More test splits, whose names are fit for records."""
        for name in given:
            if not isinstance(name, str) or not name.isidentifier() or name in TAKEN:
                told = f"its federation has the test split {name!r}; must be one word, and none of {', '.join(TAKEN)}"
                raise InputError("name", self._name, told)
        return {name: self._intake.split(split, name) for name, split in given.items()}

    def _looked_at(self, which: str, given: Any, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        try:
            store, index = given
        except (TypeError, ValueError):
            self._refuse(f"it gave {type(given).__name__} for its {which} examples, must be a store and positions")
        if len(index) != len(ids):
            self._refuse(f"it gave positions of {len(index)} clients in place of {len(ids)}")
        found = [self._positions(which, *own) for own in zip(ids, index, strict=True)]
        if which == LOCAL and not any(map(len, found)):
            return store, found  # nothing of it is looked at
        split = self._split(which, store)
        together = np.concatenate(found) if found else np.empty(0, dtype=np.int64)
        if len(together) and (together.min() < 0 or together.max() >= len(split)):
            for client, own in zip(ids, found, strict=True):
                if len(own) and (own.min() < 0 or own.max() >= len(split)):
                    wrong = own.min() if own.min() < 0 else own.max()
                    there = f"the store has {len(split)} examples, from 0 on"
                    self._refuse(f"client {client} has the position {wrong} in its {which} examples; {there}")
        return split, found

    def _split(self, which: str, store: Any) -> Split:
        for given, split in self._read.values():
            if given is store:
                return split
        try:
            split = self._intake.split(store, which, empty=True, part=True)
        except InputError as error:
            self._refuse(error.allowed)
        self._read[which] = store, split
        return split

    def _positions(self, which: str, client: int, own: Any) -> np.ndarray:
        if isinstance(own, np.ndarray) and own.dtype == np.int64 and own.ndim == 1:
            return own
        try:
            found = as_array(own)
            if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
                raise Unfit(f"{found.dtype} {list(found.shape)}")
            return as_numbers(found)
        except Unfit as error:
            self._refuse(f"client {client} has positions in its {which} examples that are {error}, must be int64 [N]")

    def _refuse(self, told: str) -> NoReturn:
        raise ClientError("data.name", self._name, told)
