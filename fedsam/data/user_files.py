"""Users and their examples in JSON files of LEAF's form.

Shapes: n examples of a user, D numbers of an example.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fedsam.data.images.parquet_files import Stamp, stamp
from fedsam.storage.text import read_text


def users_of(folder: Path) -> tuple[Part, Part]:
    """What is in `train/*.json` and `test/*.json` of a folder.

    Raises:
        OSError: a folder cannot be read.
        ValueError: there are no such files, or one is not of LEAF's form; the message says which, and which user.
    """
    found = []
    for which in ("train", "test"):
        files = tuple(sorted(path for path in (folder / which).glob("*.json") if path.name[0] != "."))
        if not files:
            raise ValueError(f"there is no {which}/*.json in it; it must be as LEAF's preprocess.sh leaves it")
        found.append(read_users(files, stamp(files), which == "test"))
    train, test = found
    if train.kind != test.kind and test.kind:
        raise ValueError(f"x is of type {train.kind} in train/ and {test.kind} in test/")
    if not test.y:
        raise ValueError("there is no example in test/")
    return train, test


@dataclass
class Part:
    """The examples of a folder, in the order of files and users.

    Args:
        x: arrays [n, D] of each user, or texts.
        y: of each example.
        users: of each example.
        kind: of each x, `list` of numbers, `str`, or a list of `texts`; empty where there is none.
    """

    x: list[Any] = field(default_factory=list)
    y: list[Any] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    kind: str = ""


@lru_cache(maxsize=2)
def read_users(files: tuple[Path, ...], changed: Stamp, empty: bool) -> Part:
    """The examples of some files, which are read once in a process as long as they do not change.

    Args:
        changed: the files as they are now.
        empty: whether a user, and all of them, may have none.

    Raises:
        ValueError: a file is not of LEAF's form; the message names file and user.
    """
    part, length = Part(), 0
    for path in files:
        for user, x, y in _users(path, empty):
            where = f"{path.parent.name}/{path.name}: user {user!r}"
            kinds = {_kind(one) for one in x} | ({part.kind} if part.kind else set())
            if len(kinds) > 1 or kinds - {"list", "str", "texts"}:
                raise ValueError(f"{where} has an x of type {', '.join(sorted(kinds))}, must be all lists or all texts")
            part.kind = kinds.pop() if kinds else part.kind
            if part.kind == "list" and x:
                array, length = _array(x, length, where), length or len(x[0])
                part.x.append(array)
            else:
                part.x += x
            part.y += y
            part.users += [user] * len(y)
    if not part.y and not empty:
        raise ValueError("there is no example in train/")
    return part


def _kind(one: Any) -> str:
    """What an x is: `list` of numbers, `str`, or a list of `texts`."""
    texts = isinstance(one, list) and one and all(isinstance(part, str) for part in one)
    return "texts" if texts else type(one).__name__


def _array(x: list[list[Any]], length: int, where: str) -> np.ndarray:
    """One user's numbers, float32 [n, D]."""
    try:
        found = np.array(x, dtype=np.float32)
    except (ValueError, TypeError):
        raise ValueError(f"{where} has an x that is no list of numbers, or of another length than others") from None
    if found.ndim != 2 or (length and found.shape[1] != length):
        raise ValueError(f"{where} has an x of {len(x[0])} numbers, others have {length}")
    if not np.isfinite(found).all():
        raise ValueError(f"{where} has an x that is NaN or infinite")
    return found


def _users(path: Path, empty: bool) -> Iterator[tuple[str, list[Any], list[Any]]]:
    """Each user's x and y.

    Args:
        empty: whether a user may have none.

    Raises:
        ValueError: the file is not of LEAF's form; the message names it.
    """
    name = f"{path.parent.name}/{path.name}"
    try:
        found = json.loads(read_text(path))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("user_data"), dict) or "users" not in found:
        raise ValueError(f"{name} must be an object with users, num_samples and user_data")
    users, data = found["users"], found["user_data"]
    numbers = found.get("num_samples") or [None] * len(users)
    if len(numbers) != len(users):
        raise ValueError(f"{name} has {len(users)} users and {len(numbers)} num_samples")
    for user, number in zip(users, numbers, strict=True):
        own = data.get(user)
        if not isinstance(own, dict) or not all(isinstance(own.get(part), list) for part in "xy"):
            raise ValueError(f"{name}: user {user!r} has no x and y in user_data")
        x, y = own["x"], own["y"]
        if len(x) != len(y) or number not in (None, len(y)):
            said = "" if number is None else f", and num_samples says {number}"
            raise ValueError(f"{name}: user {user!r} has {len(x)} x and {len(y)} y{said}")
        if not y and not empty:
            raise ValueError(f"{name}: user {user!r} has no examples")
        yield str(user), x, y
