"""Arrays in one NumPy file, as MedMNIST and Keras have them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.group_names import numbered
from fedsam.data.images.vision import image_spec
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

    Also `x_train`, `y_train`, `x_test`, `y_test`. Bytes of one or three channels are images; whole numbers of another
    type are tokens; anything else is numbers. Whole numbers [N] as labels are classes; several of them in a row are
    for `task.name=multilabel`, and fractions for `task.name=regression`. Arrays of objects are not read: they can run
    code.

    Source: Yang et al., "MedMNIST v2", Scientific Data 10, 2023.
    """

    offers: ClassVar[frozenset[str]] = frozenset({"images", "groups"})

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
    for name in train:
        if name in test and test[name].shape[1:] != train[name].shape[1:]:
            shapes = list(test[name].shape[1:]), list(train[name].shape[1:])
            raise ValueError(f"has test {name} of shape {shapes[0]}, and training {name} of {shapes[1]}")
    names, groups = numbered(train.get("clients"), test.get("clients"))
    spec = _spec(train, test, names)
    parts = [
        Split(_form(part["inputs"], spec), part["targets"], group).read_only()
        for part, group in zip((train, test), groups, strict=True)
    ]
    return spec, parts[0], parts[1]


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
    found["targets"] = _labels(found["targets"])
    if not len(found["inputs"]):
        raise ValueError(f"the array {names[0].replace('clients', 'images')!r} is empty")
    return found


def _spec(train: Mapping[str, np.ndarray], test: Mapping[str, np.ndarray], groups: tuple[str, ...]) -> Spec:
    inputs, targets = train["inputs"], train["targets"]
    more: dict[str, Any] = {"target_shape": targets.shape[1:], "groups": groups}
    classes = None
    if targets.ndim == 1 and targets.dtype.kind in "iu":
        classes = int(max(targets.max(), test["targets"].max())) + 1
    if _is_image(inputs):
        return image_spec(_with_channels(inputs), classes, **more)
    return Spec(classes, inputs.shape[1:], dtype="int64" if _tokens(inputs) else "float32", **more)


def _is_image(inputs: np.ndarray) -> bool:
    grey, coloured = inputs.ndim == 3, inputs.ndim == 4 and inputs.shape[3] in (1, 3)
    return inputs.dtype == np.uint8 and (grey or coloured)


def _tokens(inputs: np.ndarray) -> bool:
    return inputs.dtype.kind in "iu" and inputs.dtype != np.uint8


def _with_channels(images: np.ndarray) -> np.ndarray:
    return images[..., None] if images.ndim == 3 else images


def _form(inputs: np.ndarray, spec: Spec) -> np.ndarray:
    """Inputs as they are stored."""
    return _with_channels(inputs) if _is_image(inputs) else inputs.astype(spec.dtype, copy=False)


def _labels(targets: np.ndarray) -> np.ndarray:
    """A column as a row; bytes as whole numbers, fractions in single precision."""
    targets = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
    if targets.dtype.kind == "f" or targets.ndim > 1:
        return targets.astype(np.float32)
    return targets.astype(np.int64) if targets.dtype.kind in "biu" else targets
