"""Any labelled images in folders, one folder a class."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from fedsam.config import key
from fedsam.data.base import Facts, Split
from fedsam.data.images import decode
from fedsam.data.stored import Stored
from fedsam.data.vision import Stamp, check_fit, facts_of, stamp
from fedsam.errors import InputError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
LAYOUT = "it must hold train/CLASS/*.png and test/CLASS/*.png (or .jpg, ...)"


class ImageFolder(Stored):
    """Images as `<root>/train/<class>/*` and `<root>/test/<class>/*`, grey or RGB.

    Classes are the folders of `train`, numbered in alphabetical order.
    """

    size: int | None = key(None, "resize every image to size x size; none = they must agree", "off", ge=1, le=4096)

    def read(self) -> tuple[Facts, Split, Split]:
        """Both folders; mean and standard deviation are those of the training images.

        Raises:
            InputError: folders or images are missing, or an image cannot be used.
        """
        root = self.folder()
        folders = [root / part for part in ("train", "test")]
        for folder in folders:
            if not folder.is_dir():
                raise InputError("root", str(root), f"there is no folder {folder.name}/ in it; {LAYOUT}")
        try:
            facts, train, test = _read(root, self.size, stamp(*folders))
        except ValueError as error:
            hint = "; data.size=N resizes all of them to N x N" if "height x width)" in str(error) else ""
            raise InputError("root", str(root), f"{error}{hint}") from None
        check_fit(test, facts, "root", str(root / "test"))
        return facts, train, test


@lru_cache(maxsize=2)
def _read(root: Path, size: int | None, changed: Stamp) -> tuple[Facts, Split, Split]:
    classes = _folders(root / "train")
    if unknown := [name for name in _folders(root / "test") if name not in classes]:
        raise ValueError(f"test/ has the class {unknown[0]!r}, train/ has not")
    train, test = (_part(root / part, classes, size) for part in ("train", "test"))
    return facts_of(train), train, test


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _part(folder: Path, classes: list[str], size: int | None) -> Split:
    paths, labels = [], []
    for label, name in enumerate(classes):
        own = sorted(path for path in (folder / name).glob("*") if path.suffix.lower() in SUFFIXES)
        if not own and folder.name == "train":
            raise ValueError(f"there are no images in train/{name}/; {LAYOUT}")
        paths += own
        labels += [label] * len(own)
    if not paths:
        raise ValueError(f"there are no images in {folder.name}/; {LAYOUT}")
    images = decode(paths, lambda position: str(paths[position].relative_to(folder.parent)), size)
    return Split(images, np.array(labels, dtype=np.int64)).read_only()
