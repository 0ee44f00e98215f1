"""Street scenes with masks: what Cityscapes and IDDA share.

Shapes: N examples.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from fedsam.config import key
from fedsam.data.group_names import numbered
from fedsam.data.images.listed import Listed
from fedsam.data.images.listing import IGNORE, Files, Listing, listed
from fedsam.data.partition.base import Partition
from fedsam.data.user_files import users_of
from fedsam.storage.paths import expanded
from fedsam.tasks.base import Task


class Driving(Listed):
    """Images and masks of streets in folders, a group for each city or domain.

    `data.users` names a folder of JSON files that say which client has which image and mask, as those of FedDrive
    (Fantauzzo et al., "FedDrive: generalizing federated learning to semantic segmentation in autonomous driving", IROS
    2022); clients are then its users, and test images those of its `test/`.
    """

    task: ClassVar[str | Task] = "segmentation"

    partition: Partition = key("natural", "how the training examples are divided among the clients", "FedDrive")
    users: str = key(
        "", "folder of train/*.json and test/*.json in LEAF's form that say who has which image; empty = by folders",
        "off; FedDrive's data/cityscapes/data/heterogeneous", path=True,
    )  # fmt: skip

    @abstractmethod
    def found_files(self) -> list[tuple[str, str, str, bool]]:
        """Of each example image and mask, from `root` on, its group, and whether it is for test.

        Raises:
            ValueError: it is not in this layout; the message names the file.
        """

    @abstractmethod
    def places(self) -> tuple[Path, Path]:
        """Where images and masks are that `data.users` names, from `root` on."""

    @abstractmethod
    def relabels(self, masks: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
        """The class of each byte of such masks, uint8 [256], and the names of the classes.

        Args:
            masks: their files.
        """

    def listing(self) -> Listing:
        """The files in the folders, or those that `data.users` names."""
        rows = self._named() if self.users else self.found_files()
        images, masks, owners, tests = zip(*rows, strict=True)
        for which, none in (("test", not any(tests)), ("training", all(tests))):
            if none:
                raise ValueError(f"there is no {which} image in it")
        relabel, words = self.relabels(masks)
        names, (groups,) = numbered(owners)
        files = Files(self.folder(), images, masks)
        train, test = listed(files, tests, np.zeros(len(rows), dtype=np.int64), groups)
        return Listing(files, train, test, len(words), words, names, relabel)

    def _named(self) -> list[tuple[str, str, str, bool]]:
        images, masks = self.places()
        folder = self.folder() / expanded(self.users, "users")
        rows = []
        for part, test in zip(users_of(folder), (False, True), strict=True):
            for x, y, user in zip(part.x, part.y, part.users, strict=True):
                if not isinstance(x, str) or not isinstance(y, str):
                    raise ValueError(f"{folder.name}: user {user!r} has an x or a y that is no name of a file")
                rows.append((str(images / x), str(masks / y), user, test))
        return rows


def table_of(classes: dict[int, int]) -> np.ndarray:
    """The class of each byte, uint8 [256], from those that have one."""
    found = np.full(256, IGNORE, dtype=np.uint8)
    for byte, place in classes.items():
        found[byte] = place
    return found
