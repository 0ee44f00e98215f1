"""Data sets in the layout of the LEAF benchmark: JSON by user."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.group_names import numbered
from fedsam.data.images.listed import Listed
from fedsam.data.images.listing import Files, Listing, listed
from fedsam.data.images.sizes import Size, side_lengths
from fedsam.data.images.vision import image_spec
from fedsam.data.partition.base import Partition
from fedsam.data.spec import Spec
from fedsam.data.user_files import Part, users_of
from fedsam.errors import InputError

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
        try:
            return users_of(self.folder())
        except OSError as error:
            self.refuse(f"cannot be read: {error.strerror or error}")
        except ValueError as error:
            self.refuse(str(error))

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


def _classes(*each: list[Any]) -> tuple[int, tuple[str, ...], list[np.ndarray]]:
    """How many classes there are, their names, and the class of each example of each part."""
    every = [one for part in each for one in part]
    if all(type(one) is int and one >= 0 for one in every):
        return max(every) + 1, (), [np.array(part, dtype=np.int64) for part in each]
    names, numbers = numbered(*each)
    return len(names), names, [part for part in numbers if part is not None]
