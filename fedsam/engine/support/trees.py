"""Records as trees of tensors: dataclasses, tuples and dictionaries, in each other. A new field of a record is walked
with the others wherever records are captured, shipped or compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")


def leaves(tree: Any) -> Iterator[Any]:
    """The tensors and arrays of a tree, in its order; what is neither is part of its form."""
    if isinstance(tree, Tensor | np.ndarray):
        yield tree
    else:
        for _, branch in _branches(tree):
            yield from leaves(branch)


def mapped(tree: T, change: Callable[[Any], Any]) -> T:
    """A tree of the same form with other leaves."""
    if isinstance(tree, Tensor | np.ndarray):
        return change(tree)  # type: ignore[no-any-return]
    branches = list(_branches(tree))
    made: Any = {name: mapped(branch, change) for name, branch in branches}
    # not rebuilt where nothing changed: what has no leaf may be no record, or not one that can be made anew
    if all(made[name] is branch for name, branch in branches):
        return tree
    if isinstance(tree, dict):
        return made  # type: ignore[no-any-return]
    if isinstance(tree, tuple | list):
        return type(tree)(made.values())
    return replace(tree, **made)  # type: ignore[type-var]


def joined(one: Any, other: Any, join: Callable[[Any, Any], Any]) -> Any:
    """Two trees as one: leaves by `join`, lists one after the other; what only one of them has stays as it is."""
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, list):
        return one + other
    if isinstance(one, dict):
        return {name: joined(one.get(name), other.get(name), join) for name in one | other}
    return join(one, other)


def picked(tree: Any, rows: Any) -> Any:
    """Some rows of a tree whose leaves, and lists, have a row for each client."""
    if isinstance(tree, list):
        return [tree[row] for row in rows]
    return mapped(tree, lambda leaf: _picked(leaf, rows))


def _picked(leaf: Any, rows: Any) -> Any:
    if isinstance(leaf, Tensor) and leaf.is_cuda and isinstance(rows, list):  # to copy a list waits
        return torch.stack([leaf[row] for row in rows]) if rows else leaf[:0]
    return leaf[rows]


def rebuilt(tree: T, found: Iterator[Any]) -> T:
    """A tree of the same form with these leaves."""
    return mapped(tree, lambda leaf: next(found))


def outline(tree: Any) -> Any:
    """What trees must have in common to be of one form: names, shapes and types."""
    if isinstance(tree, Tensor | np.ndarray):
        return tuple(tree.shape), tree.dtype
    return tuple((name, outline(branch)) for name, branch in _branches(tree))


def _branches(tree: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(tree, dict):
        yield from tree.items()
    elif isinstance(tree, tuple | list):
        yield from enumerate(tree)
    elif is_dataclass(tree) and not isinstance(tree, type):
        # `replace` takes no field that is not given
        yield from ((field.name, getattr(tree, field.name)) for field in fields(tree) if field.init)
