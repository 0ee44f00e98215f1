"""Data sets in the layout of the LEAF benchmark: JSON by user."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.group_names import numbered
from fedsam.data.images.listed import Listed
from fedsam.data.images.listing import Files, Listing, listed
from fedsam.data.images.parquet_files import Stamp, stamp
from fedsam.data.images.sizes import Size, side_lengths
from fedsam.data.images.vision import image_spec
from fedsam.data.partition.base import Partition
from fedsam.data.spec import Spec
from fedsam.errors import InputError
from fedsam.storage.text import read_text

WHITE = 255


class Leaf(Listed):
    """Users and what each of them has:

        <root>/train/all_data_0_niid_0_keep_0_train_9.json, ...
        <root>/test/all_data_0_niid_0_keep_0_test_9.json, ...

        {"users": ["f0", "f1"], "num_samples": [2, 1],
         "user_data": {"f0": {"x": [[0.0, 1.0, ...], ...], "y": [6, 3]}, "f1": {"x": [...], "y": [...]}}}

    Every user is a client (`data.partition=natural`). An x is

    - a list of height x width pixels from 0 to 1 (`data.pixel_size`; FEMNIST), an image;
    - a list of other numbers, as it is;
    - a text, with `data.image_folder` the name of an image file in it (CelebA).

    A y is a class, a whole number from 0, or a text, which is numbered in the order of the alphabet.

    Source: Caldas et al., "LEAF: a benchmark for federated settings", 2018.
    """

    partition: Partition = key("natural", "how the training examples are divided among the clients", "LEAF")
    pixel_size: Size = key("28x28", "height and width of images that are lists of pixels", "FEMNIST")
    image_folder: str = key("", "where the images are that an x names, from `root` on", "off", path=True)

    def read(self) -> tuple[Spec, Split, Split]:
        """Both folders.

        Raises:
            InputError: files are missing or damaged, or a user lacks something.
        """
        train, test = self._parts()
        if train.kind == "str":
            return super().read()
        names, groups = numbered(train.users, test.users)
        classes, words, labels = _classes(train.y, test.y)
        more = {"names": words, "groups": names}
        inputs = [np.concatenate(part.x) for part in (train, test)]
        sides = side_lengths(self.pixel_size) or (0, 0)
        if inputs[0].shape[1] != inputs[1].shape[1]:
            self.refuse(f"x has {inputs[0].shape[1]} numbers in train/ and {inputs[1].shape[1]} in test/")
        spec = Spec(classes, inputs[0].shape[1:], **more)  # type: ignore[arg-type]
        if inputs[0].shape[1] == sides[0] * sides[1]:
            inputs = [
                self._bytes(x, part.users).reshape(-1, *sides, 1) for x, part in zip(inputs, (train, test), strict=True)
            ]
            spec = image_spec(inputs[0], classes, **more)
        train_split, test_split = (
            Split(x, y, group).read_only() for x, y, group in zip(inputs, labels, groups, strict=True)
        )
        return spec, train_split, test_split

    def listing(self) -> Listing | None:
        """The images that are named, if any are."""
        train, test = self._parts()
        if train.kind != "str":
            return None
        if not self.image_folder:
            self.refuse("x is a text; say where images are with data.image_folder")
        names, (groups, _) = numbered([*train.users, *test.users], [])
        classes, words, (labels, _) = _classes([*train.y, *test.y], [])
        folder = Path(self.image_folder)
        files = Files(self.folder(), tuple(str(folder / x) for x in [*train.x, *test.x]))
        tests = np.repeat([False, True], [len(train.y), len(test.y)])
        return Listing(files, *listed(files, tests, labels, groups), classes, words, names)

    def _parts(self) -> tuple[Part, Part]:
        found = []
        for which in ("train", "test"):
            folder = self.folder() / which
            try:
                files = sorted(path for path in folder.glob("*.json") if path.name[0] != ".")
                if not files:
                    self.refuse(f"there is no {which}/*.json in it; it must be as LEAF's preprocess.sh leaves it")
                found.append(_read(tuple(files), stamp(files), which == "test"))
            except OSError as error:
                self.refuse(f"{which}/ cannot be read: {error.strerror or error}")
            except ValueError as error:
                self.refuse(str(error))
        train, test = found
        if train.kind != test.kind and test.kind:
            self.refuse(f"x is of type {train.kind} in train/ and {test.kind} in test/")
        if not test.y:
            self.refuse("there is no example in test/")
        return train, test

    def _bytes(self, pixels_ND: np.ndarray, users: list[str]) -> np.ndarray:
        """Pixels from 0 to 1 as bytes, uint8 [N, D]."""
        wrong_N = ((pixels_ND < 0) | (pixels_ND > 1)).any(axis=1)
        if wrong_N.any():
            at = int(np.flatnonzero(wrong_N)[0])
            told = f"from {pixels_ND[at].min():g} to {pixels_ND[at].max():g}, must be from 0 to 1"
            self.refuse(f"user {users[at]!r} has an x with pixels {told}")
        found: np.ndarray = np.rint(pixels_ND * WHITE).astype(np.uint8)
        return found

    def refuse(self, told: str) -> NoReturn:
        """Raises:
        InputError: under "root".
        """
        raise InputError("root", str(self.folder()), told)


@dataclass
class Part:
    """The examples of a folder, in the order of files and users.

    Args:
        x: arrays [n, D] of each user, or texts.
        y: of each example.
        users: of each example.
        kind: of each x, `list` or `str`; empty where there is none.
    """

    x: list[Any] = field(default_factory=list)
    y: list[Any] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    kind: str = ""


@lru_cache(maxsize=2)
def _read(files: tuple[Path, ...], changed: Stamp, empty: bool) -> Part:
    part, length = Part(), 0
    for path in files:
        for user, x, y in _users(path, empty):
            where = f"{path.parent.name}/{path.name}: user {user!r}"
            kinds = {type(one).__name__ for one in x} | ({part.kind} if part.kind else set())
            if len(kinds) > 1 or kinds - {"list", "str"}:
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


def _classes(*each: list[Any]) -> tuple[int, tuple[str, ...], list[np.ndarray]]:
    """How many classes there are, their names, and the class of each example of each part."""
    every = [one for part in each for one in part]
    if all(type(one) is int and one >= 0 for one in every):
        return max(every) + 1, (), [np.array(part, dtype=np.int64) for part in each]
    names, numbers = numbered(*each)
    return len(names), names, [part for part in numbers if part is not None]
