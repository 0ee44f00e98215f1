"""Arrays in one NumPy file, as MedMNIST and Keras have them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal, NoReturn

import numpy as np

from fedsam.config import key
from fedsam.data.arrays import in_a_row, of_arrays
from fedsam.data.base import Split
from fedsam.data.spec import Spec
from fedsam.data.stored import Partitioned
from fedsam.errors import InputError
from fedsam.storage.paths import expanded
from fedsam.storage.text import must_be_file

INPUTS = ("{}_images", "{}_inputs", "x_{}")
TARGETS = ("{}_labels", "{}_targets", "y_{}")
CLIENTS = ("{}_clients", "{}_groups", "{}_users")
"""What arrays are called; the first that is there."""


class Npz(Partitioned):
    """A NumPy file with arrays by name:

        pathmnist.npz
          train_images   [N, H, W] or [N, H, W, C] bytes, or numbers [N, ...]
          train_labels   [N] or [N, 1] classes, [N, L] zeros and ones, or numbers
          val_images, val_labels           if there are any
          test_images, test_labels
          train_clients, test_clients      [N] numbers or names, if it is known where examples come from

    Also `x_train`, `y_train`, `x_test`, `y_test`. What arrays are taken for is said at `fedsam.data.arrays.of_arrays`.
    Arrays of objects are not read: they can run code.

    Source: Yang et al., "MedMNIST v2", Scientific Data 10, 2023.
    """

    offers: ClassVar[frozenset[str]] = frozenset({"images", "groups", "tokens"})

    file: str = key("", "the .npz file; required", "no default", path=True)
    val: Literal["leave", "train"] = key(
        "leave", "what becomes of val_images: leave = they are not used; train = they are trained on, too", "MedMNIST"
    )

    def read(self) -> tuple[Spec, Split, Split]:
        """The arrays.

        Raises:
            InputError: under "file": it is not named, missing, damaged, or lacks an array, or two do not fit.
        """
        if not self.file:
            raise InputError("file", InputError.ABSENT, "must name the .npz file")
        path = expanded(self.file, "file")
        try:
            must_be_file(path)
            about = path.stat()
            return _read(path, self.val == "train", about.st_size, about.st_mtime_ns)
        except FileNotFoundError:
            self._refuse("there is no such file")
        except (OSError, EOFError, ValueError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
            self._refuse(" ".join((str(error) or type(error).__name__).split()))

    def _refuse(self, told: str) -> NoReturn:
        raise InputError("file", self.file, told)


@lru_cache(maxsize=2)
def _read(path: Path, with_val: bool, size: int, changed: int) -> tuple[Spec, Split, Split]:
    if not zipfile.is_zipfile(path):
        raise ValueError("is no .npz archive")
    with np.load(path, allow_pickle=False) as arrays:
        train, test = _part(arrays, "train"), _part(arrays, "test")
        if with_val:
            more = _part(arrays, "val")
            for name in train:
                if name not in more or more[name].shape[1:] != train[name].shape[1:]:
                    raise ValueError(f"its val_{name} do not fit its train_{name}")
                train[name] = np.concatenate([train[name], more[name]])
    return of_arrays(train, test)


def _part(arrays: Mapping[str, np.ndarray], which: str) -> dict[str, np.ndarray]:
    """Inputs, targets and, where there are any, clients of a split."""
    found: dict[str, np.ndarray] = {}
    for part, forms in (("inputs", INPUTS), ("targets", TARGETS), ("clients", CLIENTS)):
        names = [form.format(which) for form in forms]
        name = next((name for name in names if name in arrays), None)
        if name is None and part != "clients":
            raise ValueError(f"has no array {names[0]!r}; it has {', '.join(arrays)[:200]}")
        if name is not None:
            try:
                found[part] = arrays[name]
            except ValueError:
                raise ValueError(f"the array {name!r} holds objects, which could run code; make it numbers") from None
            if len(found[part].shape) == 0 or len(found[part]) != len(found["inputs"]):
                there = f"there are {len(found['inputs'])} inputs"
                raise ValueError(f"the array {name!r} has the shape {list(found[part].shape)}, {there}")
    found["targets"] = in_a_row(found["targets"])
    if not len(found["inputs"]):
        raise ValueError(f"the array {names[0].replace('clients', 'images')!r} is empty")
    return found
