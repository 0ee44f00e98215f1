"""The files of a folder of images, one folder a class, found without opening any."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fedsam.storage.text import kind_of

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
LITTER = {"thumbs.db", "desktop.ini", "icon\r"}
"""What systems leave in folders of images."""
TESTS = ("test", "val", "valid", "validation")
"""Names of the folder of test images; the first that is there."""


@dataclass
class Found:
    """Image files, with size and time of change of each, and files that are none by their endings."""

    images: list[tuple[Path, int, int]] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)


def tests_of(root: Path) -> Path:
    """Where the test images are."""
    return next((root / name for name in TESTS if (root / name).is_dir()), root / TESTS[0])


def class_folders(folder: Path) -> list[str]:
    """The names of classes: the folders in it, but for those that begin with a dot."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def images_of(folder: Path, top: Path) -> Found:
    """The images of a class, also in folders below, in the order of their folders and then of their names, as
    torchvision has them. What begins with a dot is left out: `._a.png` and `.DS_Store` are a Mac's notes.

    Args:
        folder: of the class.
        top: from which on paths are shown in messages.

    Raises:
        ValueError: an image is no file, or a link leads nowhere or back to where it comes from; the message names it.
    """
    found = Found()
    for path in _files(folder, top, ()):
        if path.suffix.lower() not in SUFFIXES:
            if path.name.lower() not in LITTER:
                found.others.append(path)
            continue
        about = _stat(path, top)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError(f"{path.relative_to(top)} is {kind_of(about.st_mode)}, not an image")
        found.images.append((path, about.st_size, about.st_mtime_ns))
    return found


def _files(folder: Path, top: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """What is in a folder and is none, then what is in the folders in it."""
    about = _stat(folder, top)
    client = about.st_dev, about.st_ino
    if client in above:
        raise ValueError(f"{folder.relative_to(top)} is a link that leads back to a folder it is in")
    there = sorted(path for path in folder.iterdir() if path.name[0] != ".")
    below = [path.is_dir() for path in there]
    yield from (path for path, is_folder in zip(there, below, strict=True) if not is_folder)
    for path, is_folder in zip(there, below, strict=True):
        if is_folder:
            yield from _files(path, top, (*above, client))


def _stat(path: Path, top: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        if not path.is_symlink():
            raise ValueError(f"{path.relative_to(top)} cannot be read ({error.strerror})") from None
        raise ValueError(f"{path.relative_to(top)} is a link to {os.readlink(path)}, which leads nowhere") from None
