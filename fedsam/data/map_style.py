"""Examples out of what people hold them in: pairs of arrays, torch data sets, Hugging Face data sets, data frames.

Shapes: N examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedsam.data.plain_array import Unfit, as_array
from fedsam.errors import InputError

INPUTS = "img", "image", "images", "pixel_values", "features", "inputs", "input", "x", "data"
TARGETS = "label", "labels", "target", "targets", "class", "y", "fine_label"


@dataclass(frozen=True)
class Examples:
    """Examples as they were found.

    Args:
        inputs: [N, ...].
        targets: [N, ...].
        groups: the name of the user, domain or client of each, [N], if that is known.
        names: of the classes, if the holder says so.
    """

    inputs: np.ndarray
    targets: np.ndarray
    groups: np.ndarray | None = None
    names: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Columns:
    """Which columns of a table, or which entries of an example, are what; None = the usual names.

    Args:
        inputs: what a model is given: one column, or several of numbers.
        targets: what it is to answer.
        groups: whose examples they are.
    """

    inputs: str | Sequence[str] | None = None
    targets: str | None = None
    groups: str | None = None


def examples_of(given: Any, columns: Columns | None = None) -> Examples:
    """The examples that an object holds.

    Args:
        given: a pair (inputs, targets) of arrays, tensors or lists, or three with the groups; an object with
            `inputs` and `targets`; a torch `TensorDataset`, or any data set with `len` and positions, whose examples
            are pairs or mappings, each asked for once; a Hugging Face `Dataset`; a pandas `DataFrame`.
        columns: of those that have names.

    Raises:
        InputError: it is none of these, or has no such column.
    """
    columns = columns or Columns()
    if hasattr(given, "inputs") and hasattr(given, "targets"):
        return _arrays(given.inputs, given.targets, None)
    if hasattr(given, "tensors"):
        given = given.tensors
    if isinstance(given, tuple | list) and len(given) in (2, 3) and not _is_example(given[0], given):
        return _arrays(given[0], given[1], given[2] if len(given) == 3 else None)
    if hasattr(given, "column_names") or hasattr(given, "to_numpy"):
        return _table(given, columns)
    if hasattr(given, "__len__") and hasattr(given, "__getitem__"):
        return _mapped(given, columns)
    what = "goes one way only (an IterableDataset)" if hasattr(given, "__iter__") else "holds no examples"
    raise InputError("name", type(given).__name__, f"{what}; give (inputs, targets), or a data set with positions")


def _is_example(first: Any, given: Any) -> bool:
    """Whether a list of two is two examples, (input, number) each, and no pair of arrays."""
    return isinstance(given, list) and isinstance(first, tuple)


def _arrays(inputs: Any, targets: Any, groups: Any, names: tuple[str, ...] = ()) -> Examples:
    held = None if groups is None else _names(groups)
    found = Examples(_array(inputs, "inputs"), _array(targets, "targets"), held, names)
    counts = {len(part) for part in (found.inputs, found.targets, held) if part is not None}
    if len(counts) > 1:
        told = f"there are {len(found.inputs)} inputs and {len(found.targets)} targets"
        raise InputError("name", InputError.ABSENT, told + ("" if held is None else f" of {len(held)} known groups"))
    if not len(found):
        raise InputError("name", InputError.ABSENT, "there is not one example")
    return found


def _array(given: Any, what: str) -> np.ndarray:
    try:
        return as_array(given)
    except Unfit as error:
        raise _wrong(f"the {what} are {error}; they must be numbers of one shape") from None


def _wrong(told: str) -> InputError:
    return InputError("name", InputError.ABSENT, told)


def _names(groups: Any) -> np.ndarray:
    plain = groups.detach().cpu().numpy() if hasattr(groups, "detach") else groups
    return np.array([str(name) for name in np.asarray(plain).tolist()])


def _table(given: Any, columns: Columns) -> Examples:
    hub = hasattr(given, "column_names")
    there = [str(name) for name in (given.column_names if hub else given.columns)]
    target = _column(columns.targets, TARGETS, there, "targets")
    if columns.groups is not None:
        _column(columns.groups, (), there, "groups")
    if isinstance(columns.inputs, str) or columns.inputs is None:
        rest = [name for name in there if name not in (target, columns.groups)]
        usual = next((name for name in INPUTS if name in rest), None)
        chosen = [columns.inputs or usual or (rest[0] if len(rest) == 1 else "")]
        chosen = rest if chosen == [""] else chosen
    else:
        chosen = list(columns.inputs)
    for name in chosen:
        _column(name, (), there, "inputs")

    def read(name: str) -> Any:
        return _hub_column(given, name) if hub else given[name].to_numpy()

    one = _array(read(chosen[0]), "inputs")
    inputs = one if len(chosen) == 1 else np.stack([one, *(_array(read(n), "inputs") for n in chosen[1:])], axis=1)
    feature = given.features[target] if hub else None
    names = tuple(getattr(feature, "names", None) or ())
    groups = None if columns.groups is None else read(columns.groups)
    return _arrays(inputs, read(target), groups, names)


def _hub_column(given: Any, name: str) -> Any:
    """A column in the type that its feature says, images as PIL has them."""
    feature = given.features[name]
    if type(feature).__name__ == "Image":
        return given.with_format(None)[name][:]
    found, said = np.asarray(given.with_format("numpy")[name][:]), str(getattr(feature, "dtype", ""))
    known = said.rstrip("0123456789") in ("int", "uint", "float") and found.dtype.kind in "iuf"
    return found.astype(said) if known else found


def _column(asked: str | None, usual: Sequence[str], there: Sequence[str], what: str) -> str:
    found = asked if asked is not None else next((name for name in usual if name in there), "")
    if found not in there:
        told = f"name a column for the {what}; there are {', '.join(there)}"
        raise InputError("name", InputError.ABSENT if asked is None else asked, told)
    return found


def _mapped(given: Any, columns: Columns) -> Examples:
    items = []
    for position in range(len(given)):
        try:
            items.append(given[position])
        except Exception as error:
            told = f"example {position} raised {type(error).__name__}: {' '.join(str(error).split())}"
            raise InputError("name", type(given).__name__, told) from error
    if not items:
        raise InputError("name", type(given).__name__, "there is not one example")
    names = tuple(map(str, getattr(given, "classes", ()) or ()))
    first = items[0]
    if isinstance(first, Mapping):
        there = list(map(str, first))
        target = _column(columns.targets, TARGETS, there, "targets")
        wanted = columns.inputs if isinstance(columns.inputs, str) else None
        source = _column(wanted, INPUTS, there, "inputs")
        groups = None if columns.groups is None else [item[columns.groups] for item in items]
        return _arrays([item[source] for item in items], [item[target] for item in items], groups, names)
    if isinstance(first, tuple | list) and len(first) in (2, 3):
        groups = [item[2] for item in items] if len(first) == 3 else None
        return _arrays([item[0] for item in items], [item[1] for item in items], groups, names)
    told = "must have examples (input, target) or mappings"
    raise InputError("name", type(given).__name__, f"has examples of type {type(first).__name__}, {told}")
