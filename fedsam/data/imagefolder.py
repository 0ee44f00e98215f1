"""Any labelled images in folders, one folder a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedsam.config import key
from fedsam.data.base import Facts, Split
from fedsam.data.parquet import agree, facts_of
from fedsam.data.stored import Stored
from fedsam.data.vision import decode, stacked
from fedsam.errors import InputError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}


class ImageFolder(Stored):
    """Images as `<root>/train/<class>/*` and `<root>/test/<class>/*`; classes are the folders of train, in alphabetical order."""

    size: int | None = key(None, "resize every image to size x size; none = they must agree", "off", ge=1)
    mode: str | None = key(None, "L (grey) or RGB; none = that of the first image", "off", pattern="^(L|RGB)$")

    def read(self) -> tuple[Facts, Split, Split]:
        """Both folders; mean and standard deviation are those of the training images."""
        root = self.folder()
        for part in ("train", "test"):
            if not (root / part).is_dir():
                raise InputError("root", str(root), f"there is no folder {part}/ in it; it must hold train/CLASS/* and test/CLASS/*")
        classes = sorted(path.name for path in (root / "train").iterdir() if path.is_dir())
        if not classes:
            raise InputError("root", str(root), "train/ has no folders; it must hold one for each class")
        unknown = sorted({path.name for path in (root / "test").iterdir() if path.is_dir()} - set(classes))
        if unknown:
            raise InputError("root", str(root), f"test/ has the class {unknown[0]!r}, train/ has not")
        train, mode = self._part(root / "train", classes, self.mode)
        test, _ = self._part(root / "test", classes, mode)
        agree(train, test, "root")
        facts = facts_of(train)
        return Facts(len(classes), facts.shape, facts.mean, facts.std), train, test

    def _part(self, folder: Path, classes: list[str], mode: str | None) -> tuple[Split, str]:
        found = [
            (path, label)
            for label, name in enumerate(classes)
            for path in sorted((folder / name).glob("*"))
            if path.suffix.lower() in SUFFIXES
        ]
        if not found:
            raise InputError("root", str(folder.parent), f"there are no images in {folder.name}/")
        try:
            images = decode([path.read_bytes() for path, _ in found], mode)
            pixels = stacked([_resized(image, self.size) for image in images] if self.size else images)
        except ValueError as error:
            named = str(error)
            for number in [word.rstrip(":") for word in named.split() if word.isdigit()]:
                named = named.replace(f"image {number} ", f"{found[int(number)][0]} ", 1)
            hint = "; data.size=N makes them all N x N" if "differ" in named else ""
            raise InputError("root", str(folder.parent), named + hint) from None
        return Split(pixels, np.array([label for _, label in found], dtype=np.int64)), "L" if pixels.shape[3] == 1 else "RGB"


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    from PIL import Image

    grey = image.shape[2] == 1
    small = np.asarray(Image.fromarray(image[:, :, 0] if grey else image).resize((size, size), Image.Resampling.BILINEAR))
    return small[:, :, None] if grey else small
