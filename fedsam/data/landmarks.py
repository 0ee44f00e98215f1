"""Landmarks-User-160k: photographs of landmarks by the users who took them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from fedsam.config import key
from fedsam.data.group_names import numbered
from fedsam.data.images.listed import Listed
from fedsam.data.images.listing import Files, Listing, listed
from fedsam.data.images.sizes import Size
from fedsam.data.partition.base import Partition
from fedsam.data.table_file import TableFile, table_file
from fedsam.storage.paths import expanded


class Landmarks(Listed):
    """164,172 images of 2,028 landmarks by 1,262 users, and 19,526 test images, in the layout of Google Landmarks v2:

        <root>/federated_train.csv               user_id,image_id,class
        <root>/test.csv                          image_id,class
        <root>/images/4/e/f/4ef0e2c7b0a1d2c3.jpg in folders by the first letters of their names,
        <root>/images/4ef0e2c7b0a1d2c3.jpg       or all in one

    Every user is a client (`data.partition=natural`). Where the tables have names of classes in place of numbers these
    are numbered in the order of the alphabet. Images are resized to `data.size`, and decoded when their client is
    sampled where memory does not hold them.

    Source: Hsu, Qi and Brown, "Federated visual classification with real-world data distribution", ECCV 2020.
    """

    partition: Partition = key("natural", "how the training examples are divided among the clients", "Hsu et al. 2020")
    size: Size = key("224", "resize every image to N x N, or to HEIGHTxWIDTH", "ImageNet's networks")
    train_table: str = key("federated_train.csv", "training images, from `root` on", "landmarks-user-160k", path=True)
    test_table: str = key("test.csv", "test images, from `root` on", "landmarks-user-160k", path=True)
    image_folder: str = key("images", "where the images are, from `root` on", "Google Landmarks v2", path=True)

    def listing(self) -> Listing:
        """The rows of both tables."""
        train, test = self._table("train_table"), self._table("test_table")
        names, (groups,) = numbered(train.texts("user_id"))
        labels, words = alike(train, test, "class")
        ids = [*train.texts("image_id"), *test.texts("image_id")]
        place = self._place(ids[0])
        files = Files(self.folder(), tuple(map(place, ids)), None, train.row_names + test.row_names)
        tests = np.repeat([False, True], [train.rows, test.rows])
        train_split, test_split = listed(files, tests, labels, None)
        return Listing(files, replace(train_split, groups=groups), test_split, int(labels.max()) + 1, words, names)

    def _table(self, field: str) -> TableFile:
        given = getattr(self, field)
        return table_file(self.folder() / expanded(given, field), field, given)

    def _place(self, example: str) -> Callable[[str], str]:
        """Where an image is by its name, from `root` on: as the first one is."""
        folder = Path(self.image_folder)

        def flat(name: str) -> str:
            return str(folder / f"{name}.jpg")

        def deep(name: str) -> str:
            return str(folder.joinpath(*name[:3], f"{name}.jpg"))

        return flat if (self.folder() / flat(example)).is_file() else deep


def alike(train: TableFile, test: TableFile, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The classes of both tables, int64 [N], one after the other, and their names, if they have any.

    Raises:
        InputError: a table has no such column, or only one of them has numbers there.
    """
    (one, names), (other, more) = train.classes(column), test.classes(column)
    if bool(names) != bool(more):
        test.refuse(f"has {'numbers' if names else 'names'} in column {column!r}, unlike {train.path.name}")
    if names:
        every, found = numbered(train.texts(column), test.texts(column))
        return np.concatenate([part for part in found if part is not None]), every
    return np.concatenate([one, other]), ()
