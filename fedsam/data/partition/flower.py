"""`data.partition=flwr:PathologicalPartitioner`: the partitioners of flwr-datasets, by class name or as objects.

Shapes: N examples, K clients.
"""

from __future__ import annotations

import copy
import inspect
import logging
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from functools import lru_cache, reduce
from io import StringIO
from operator import or_
from types import UnionType
from typing import Any, ClassVar, Union, get_args, get_origin

import numpy as np
from pydantic import create_model

from fedsam.border.extra import needed, no_such
from fedsam.border.signature import key_of, must_have_values
from fedsam.config import find
from fedsam.data.partition.base import Assignment, Partition
from fedsam.errors import InputError

log = logging.getLogger("fedsam")

PACKAGE, COLUMN, PLACE = "flwr_datasets", "by", "at"
COUNT, BY, SEED = "num_partitions", "partition_by", "seed"
NATURAL = "NaturalIdPartitioner", "GroupedNaturalIdPartitioner"
"""Those that go by the user or domain of each example; all others with a column go by its class."""
VERTICAL = "Vertical"
"""How those begin that divide columns, of which an example here has one."""


class _Flower(Partition):
    """What partitions made of a partitioner's class share; their fields are its parameters.

    `data.clients` is its number of partitions, the column it goes by is the class of an example, or its user with
    those of natural ids, and its seed is drawn from the run's. What is left over belongs to nobody.
    """

    made_by: ClassVar[Callable[..., Any]]
    given: ClassVar[tuple[str, ...]]
    _groups: np.ndarray | None = None

    def __init__(self, **values: Any) -> None:
        must_have_values(type(self), values, "flwr-datasets")
        super().__init__(**values)

    def of_groups(self, groups: np.ndarray | None, names: tuple[str, ...]) -> Partition:
        """The same, by users or domains if it goes by natural ids.

        Raises:
            InputError: it does, and they are not known.
        """
        if type(self).__name__ not in NATURAL:
            return self
        if groups is None:
            raise InputError("partition", self.name, "goes by the user of each example, which this data set has not")
        made = self.model_copy()
        made._groups = groups
        return made

    def assign(
        self, labels: np.ndarray, clients: int, samples_per_client: int | None, rng: np.random.Generator
    ) -> Assignment:
        """What the partitioner makes of the examples.

        Raises:
            InputError: it refuses them, or another number of clients or of examples is asked for.
        """
        if samples_per_client is not None:
            told = "the partitioner says how many examples each client has; leave it out"
            raise InputError("samples_per_client", samples_per_client, told)
        supplied = {COUNT: clients, BY: COLUMN, SEED: int(rng.integers(2**31))}
        own = {field: getattr(self, field) for field in self.model_fields_set}
        given = {name: value for name, value in supplied.items() if name in type(self).given}
        column = labels if self._groups is None else self._groups
        try:
            parts = lists(type(self).made_by(**given, **own), column)
        except Exception as error:
            raise InputError("partition", self.name, f"refuses: {_brief(error)}") from None
        if clients not in (0, parts.clients):
            raise InputError("clients", clients, f"{self.name} gives {parts.clients} clients; leave it out")
        return parts

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.name, {field: getattr(self, field) for field in self.model_fields_set})


def _restored(name: str, values: dict[str, Any]) -> Partition:
    made: Partition = find(Partition, name)(**values)
    return made


def lists(partitioner: Any, column_N: np.ndarray) -> Assignment:
    """Which positions each partition of a partitioner has, of examples with this class or user."""
    datasets = needed("datasets", "partition", InputError.ABSENT)
    name = getattr(partitioner, "_partition_by", None) or COLUMN
    partitioner.dataset = datasets.Dataset.from_dict({name: column_N.tolist(), PLACE: list(range(len(column_N)))})
    with redirect_stderr(StringIO()), warnings.catch_warnings(record=True) as warned:  # some show bars
        warnings.simplefilter("always")
        parts = [partitioner.load_partition(k)[PLACE][:] for k in range(partitioner.num_partitions)]
    for line in dict.fromkeys(_brief(each.message) for each in warned if each.category is UserWarning):
        log.info("%s: %s", type(partitioner).__name__, line)
    return Assignment.of([np.array(part, dtype=np.int64) for part in parts])


def is_partitioner(thing: Any) -> bool:
    """Whether it is an object of one of their classes."""
    return hasattr(type(thing), "load_partition") and hasattr(type(thing), "num_partitions")


def function_of(partitioner: Any) -> Callable[[np.ndarray, int | None, np.random.Generator], list[np.ndarray]]:
    """The division that an object makes, each time of a fresh copy, by class."""

    def divide(labels: np.ndarray, clients: int | None, rng: np.random.Generator) -> list[np.ndarray]:
        try:
            parts = lists(copy.deepcopy(partitioner), labels)
        except Exception as error:
            raise InputError("partition", type(partitioner).__name__, f"refuses: {_brief(error)}") from None
        return [parts.of_client(k) for k in range(parts.clients)]

    return divide


@lru_cache(maxsize=64)
def offered(name: str) -> type[Partition]:
    """The partition made of the partitioner's class of this name.

    Raises:
        InputError: flwr-datasets is not installed, or has none that applies.
    """
    there = needed(PACKAGE, "partition", f"flwr:{name}", "partitioner")
    usable = [each for each in there.__all__ if each != "Partitioner" and not each.startswith(VERTICAL)]
    if name.startswith(VERTICAL) and name in there.__all__:
        told = "divides the columns of a table, and an example here is one input; use one that divides examples"
        raise InputError("name", f"flwr:{name}", told)
    if name not in usable:
        raise no_such(name, "flwr", "flwr-datasets has no such partitioner", usable)
    found = getattr(there, name)
    fields, given = {}, []
    for parameter in inspect.signature(found, eval_str=True).parameters.values():
        if parameter.name in (COUNT, BY, SEED):
            given.append(parameter.name)
            continue
        plain = parameter.replace(annotation=_without_arrays(parameter.annotation))
        if (held := key_of(plain, f"flwr:{name}", Partition)) is not None:
            fields[parameter.name] = held
    cls: Any = create_model(name, __base__=_Flower, __module__="flwr", __doc__=inspect.getdoc(found), **fields)
    cls.made_by, cls.given, cls.counts = staticmethod(found), tuple(given), COUNT not in given
    return cls  # type: ignore[no-any-return]


def _without_arrays(held: Any) -> Any:
    """A parameter's type without what no key can hold, where something is left, and a sequence as a list."""
    if get_origin(held) is Sequence:
        return list[get_args(held)]  # type: ignore[misc]
    if get_origin(held) not in (Union, UnionType):
        return held
    kept = [part for part in get_args(held) if get_origin(part) is not np.ndarray and part is not np.ndarray]
    return reduce(or_, kept) if kept else held


def _brief(error: Warning | Exception | str) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
