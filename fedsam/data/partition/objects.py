"""Divisions that are given as objects: index lists, the client of each example, or a function.

Shapes: N examples, K clients.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import numpy as np
from pydantic import create_model

from fedsam.border.content import summed
from fedsam.border.given import Holder, carried, known, named
from fedsam.config import find
from fedsam.data.partition.base import Assignment, Partition
from fedsam.data.partition.flower import function_of, is_partitioner
from fedsam.errors import InputError


class _Given(Partition):
    """A division that is looked up or called; `divide` gives index lists or the client of each example."""

    counts: ClassVar[bool] = True
    positions: ClassVar[bool] = True

    divide: ClassVar[Callable[[np.ndarray, int | None, np.random.Generator], Any]]

    def assign(
        self, labels: np.ndarray, clients: int, samples_per_client: int | None, rng: np.random.Generator
    ) -> Assignment:
        """Divide as given; what a function returns is read as lists or clients are.

        Raises:
            InputError: positions are outside the data set or there twice, there are not as many clients as examples
                say, or another number of clients or of examples is asked for.
        """
        if samples_per_client is not None:
            self._refuse("samples_per_client", samples_per_client, "the partition says who has what; leave it out")
        parts = self._parts(_read(type(self).divide(labels, clients or None, rng)), len(labels))
        if clients not in (0, parts.clients):
            self._refuse("clients", clients, f"the partition has {parts.clients}; leave it out")
        index = parts.index
        if len(index) and (index.min() < 0 or index.max() >= len(labels)):
            wrong = index.min() if index.min() < 0 else index.max()
            self._refuse("partition", self.name, f"has the position {wrong}; there are {len(labels)} examples, from 0")
        if len(np.unique(index)) != len(index):
            values, counts = np.unique(index, return_counts=True)
            self._refuse("partition", self.name, f"has the position {values[counts > 1][0]} twice")
        return parts

    def _parts(self, found: list[np.ndarray] | np.ndarray | None, examples: int) -> Assignment:
        if isinstance(found, list):
            return Assignment.of(found)
        if found is None:
            self._refuse("partition", self.name, "gives neither index lists nor a client for each example")
        if len(found) != examples:
            told = f"has a client for each of {len(found)} examples, the training set has {examples}"
            self._refuse("partition", self.name, told)
        ids, owner_N = np.unique(found, return_inverse=True)
        return Assignment.owned(np.arange(examples), owner_N.reshape(-1), len(ids))

    def _refuse(self, key: str, given: Any, told: str) -> NoReturn:
        raise InputError(key, given, told)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.name, carried([self.name]))


def _restored(name: str, things: dict[str, Any]) -> Partition:
    with known(things):
        made: Partition = find(Partition, name)()
    return made


def taken(thing: Any) -> Holder | None:
    """The holder of index lists, of the client of each example, or of a function (labels, clients, rng) that gives
    either, with `clients` None where their number was not said, or of a partitioner of flwr-datasets; None for anything
    else.
    """
    if is_partitioner(thing):
        return named(function_of(thing), type(thing).__name__, lambda: summed(thing))
    if callable(thing) and not inspect.isclass(thing):
        return named(thing, getattr(thing, "__name__", type(thing).__name__), lambda: summed(thing))
    found = _read(thing)
    if found is None:
        return None
    if isinstance(found, np.ndarray):
        return named(found, "clients", lambda: summed(found if found.dtype.kind in "iu" else found.tolist()))
    return named(found, "lists", lambda: summed(found))


def _read(thing: Any) -> list[np.ndarray] | np.ndarray | None:
    """Index lists, or the client of each example [N]; None for what is neither."""
    if hasattr(thing, "detach"):
        thing = thing.detach().cpu().numpy()
    if hasattr(thing, "to_numpy"):
        thing = thing.to_numpy()
    if isinstance(thing, list | tuple) and thing and any(np.ndim(part) for part in thing):
        lists = [np.asarray(part) for part in thing]
        fit = all(part.ndim == 1 and (part.dtype.kind in "iu" or not len(part)) for part in lists)
        return [part.astype(np.int64) for part in lists] if fit else None
    if not isinstance(thing, list | tuple | np.ndarray) or not len(thing):
        return None
    found = np.asarray(thing)
    if found.ndim == 2 and found.dtype.kind in "iu":
        return [row.astype(np.int64) for row in found]
    if found.dtype == object and all(isinstance(part, str) for part in found):
        found = found.astype(str)
    return found if found.ndim == 1 and found.dtype.kind in "iuU" else None


def adopted(root: type[Partition], found: Any, name: str) -> type[Partition]:
    """A partition that divides as an object says.

    Raises:
        InputError: `found` is neither a function nor index lists nor clients.
    """
    function = callable(found) and not inspect.isclass(found)
    if not function and _read(found) is None:
        told = "must be a Partition class, a function (labels, clients, rng), index lists or the client of each example"
        raise InputError("name", name, told)
    module, _, attribute = name.partition(":")
    cls: Any = create_model(
        attribute, __base__=_Given, __module__=module, __doc__=inspect.getdoc(found) if function else None
    )
    cls.divide = staticmethod(found if function else lambda labels, clients, rng: found)
    return cls  # type: ignore[no-any-return]
