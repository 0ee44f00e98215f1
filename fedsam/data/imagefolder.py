"""Any labelled images in folders, one folder a class."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.images.decode import decode
from fedsam.data.images.parquet_files import note
from fedsam.data.images.spec import ImageSpec
from fedsam.data.images.tree import TESTS, class_folders, images_of, tests_of
from fedsam.data.images.vision import alike, check_fit, spec_of
from fedsam.data.stored import Stored
from fedsam.errors import InputError

LAYOUT = "it must hold train/CLASS/*.png and test/CLASS/*.png (or .jpg, ...)"

Listed = tuple[tuple[str, tuple[tuple[Path, int, int], ...]], ...]
"""Of each class its name and its files, with what would tell that one was changed."""


class ImageFolder(Stored):
    """Images as `<root>/train/<class>/*` and `<root>/test/<class>/*`, grey or RGB, also in folders below these. Where
    there is no `test`, it is `val`, `valid` or `validation`.

    Classes are the folders of `train`, numbered in alphabetical order. Names that begin with a dot are left out.
    """

    size: int | None = key(None, "resize every image to size x size; none = they must agree", "off", ge=1, le=4096)

    def read(self) -> tuple[ImageSpec, Split, Split]:
        """Both folders; mean and standard deviation are those of the training images.

        Raises:
            InputError: folders or images are missing, or an image cannot be used.
        """
        root = self.folder()
        try:
            train_at, test_at = root / "train", tests_of(root)
            for folder in (train_at, test_at):
                if not folder.is_dir():
                    raise InputError("root", str(root), f"there is no folder {folder.name}/ in it; {LAYOUT}")
            classes = class_folders(train_at)
            train, test = (_listed(folder, classes) for folder in (train_at, test_at))
            spec, *both = _read(root, self.size, train, test, test_at.name)
        except OSError as error:
            raise InputError("root", str(root), f"cannot be read: {error.strerror or error}") from None
        except InputError:
            raise
        except ValueError as error:
            hint = "; data.size=N resizes all of them to N x N" if "height x width)" in str(error) else ""
            hint = "; data.size=N with a small N makes them fit" if "of memory that are free" in str(error) else hint
            raise InputError("root", str(root), f"{error}{hint}") from None
        if test_at.name != TESTS[0]:
            note(f"{root}: there is no test/ in it; the test images are those of {test_at.name}/")
        check_fit(both[1], spec, "root", str(test_at))
        return spec, both[0], both[1]


def _listed(folder: Path, classes: list[str]) -> Listed:
    """The images of each class in `train` or the like."""
    if unknown := [name for name in class_folders(folder) if name not in classes]:
        if unknown == ["images"]:
            told = f"{folder.name}/images/ is not divided into classes; move its images to {folder.name}/CLASS/"
            raise ValueError(f"{told} (of Tiny-ImageNet val_annotations.txt tells which, and its test/ has no labels)")
        raise ValueError(f"{folder.name}/ has the class {unknown[0]!r}, train/ has not")
    found, others = [], []
    for name in classes:
        own = images_of(folder / name, folder.parent) if (folder / name).is_dir() else None
        others += own.others if own else []
        found.append((name, tuple(own.images) if own else ()))
    if others:
        more = f" and {len(others) - 1} more" * (len(others) > 1)
        note(f"{others[0]}{more} left out: no image by its ending")
    for name, files in found:
        if not files and folder.name == "train":
            raise ValueError(f"there are no images in train/{name}/; {LAYOUT}")
    if not any(files for _, files in found):
        raise ValueError(f"there are no images in {folder.name}/; {LAYOUT}")
    return tuple(found)


@lru_cache(maxsize=2)
def _read(root: Path, size: int | None, train: Listed, test: Listed, tested_on: str) -> tuple[ImageSpec, Split, Split]:
    train_split, test_split = alike(*(_part(root, size, part) for part in (train, test)))
    return spec_of(train_split), train_split, test_split


def _part(root: Path, size: int | None, listed: Listed) -> Split:
    paths = [path for _, files in listed for path, *_ in files]
    labels = np.repeat(np.arange(len(listed), dtype=np.int64), [len(files) for _, files in listed])
    images = decode(paths, lambda position: str(paths[position].relative_to(root)), size)
    return Split(images, labels).read_only()
