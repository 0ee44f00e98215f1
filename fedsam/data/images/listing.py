"""Image files by name, with the class or the mask of each; what is read of them when it is asked for.

Shapes: N examples, H height, W width, C channels, L classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fedsam.data.base import Split
from fedsam.data.images.decode import pixels_of
from fedsam.data.images.spec import ImageSpec
from fedsam.data.images.vision import image_spec

IGNORE = 255
"""What a pixel of a mask holds that has no class."""
LOOKED_AT = 1000
"""Training images, evenly spaced, of which mean and deviation are taken."""
PART = 16  # images that one thread reads at once


@dataclass(frozen=True)
class Files:
    """Image files and their masks.

    Args:
        root: from which on they are named.
        images: of each example.
        masks: of each example; None where targets are no masks.
        rows: where each is named, such as "row 4 of examples.csv", if in a table.
    """

    root: Path
    images: tuple[str, ...]
    masks: tuple[str, ...] | None = None
    rows: tuple[str, ...] = ()

    def name(self, at: int, mask: bool = False) -> str:
        """What a message calls a file."""
        file = self.masks[at] if mask and self.masks else self.images[at]
        return f"{file} ({self.rows[at]})" if self.rows else file


@dataclass(frozen=True)
class Listing:
    """What there is, before an image is looked at.

    Args:
        files: of all examples.
        train, test: positions in `files` as inputs, int64 [N], and the class of each as target; 0 where it has a mask.
        classes: L; None where targets are numbers.
        names: of the classes.
        groups: of users, domains or cities.
        relabel: the class of each byte of a mask, uint8 [256], where they are others; `IGNORE` = none.
    """

    files: Files
    train: Split
    test: Split
    classes: int | None
    names: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    relabel: np.ndarray | None = None

    @property
    def masked(self) -> bool:
        """Whether targets are masks."""
        return self.files.masks is not None


class Reader:
    """Decodes the files of a listing.

    Args:
        listing: of them.
        size: height and width that images are resized to (bilinear, antialiased) and masks (nearest); None = all have
            the size of the first training image.

    Raises:
        ValueError: the first training image cannot be read.
    """

    def __init__(self, listing: Listing, size: tuple[int, int] | None) -> None:
        self.files, self.size = listing.files, size
        self.relabel, self.classes = listing.relabel, listing.classes or 0
        self.masked = listing.masked
        first, _ = self._opened(int(listing.train.inputs[0]), False)
        self.shape: tuple[int, int, int] = (first.shape[0], first.shape[1], first.shape[2])

    @property
    def about(self) -> tuple[object, ...]:
        """What decides what is made of a file."""
        return self.shape, self.size, self.classes, None if self.relabel is None else self.relabel.tobytes()

    def state(self, at: int) -> tuple[object, ...]:
        """The files of an example as they are now: names, sizes and times of change."""
        names = [self.files.images[at], *([self.files.masks[at]] if self.files.masks else [])]
        found: list[object] = []
        for name in names:
            path = self.files.root / name
            try:
                about = path.stat()
            except OSError:
                return (str(path),)
            found += [str(path), about.st_size, about.st_mtime_ns]
        return tuple(found)

    @property
    def bytes_each(self) -> int:
        """Of one example in memory."""
        height, width, channels = self.shape
        return height * width * (channels + self.masked)

    def spec(self, listing: Listing, threads: int) -> ImageSpec:
        """Mean and deviation are those of some of the training images (`LOOKED_AT`)."""
        positions = listing.train.inputs
        some = positions[np.unique(np.linspace(0, len(positions) - 1, LOOKED_AT).astype(np.int64))]
        images = self.images(some, threads)
        masks = {"target_shape": self.shape[:2], "ignore": IGNORE} if self.masked else {}
        return image_spec(images, listing.classes, names=listing.names, groups=listing.groups, **masks)

    def split(self, part: Split, threads: int) -> Split:
        """Examples with their images and masks, from those with their positions."""
        images, masks = np.empty((len(part), *self.shape), np.uint8), self._room(len(part))
        self._read_by(threads, part.inputs, images, masks)
        return replace(part, inputs=images, targets=part.targets if masks is None else masks).read_only()

    def images(self, positions: np.ndarray, threads: int) -> np.ndarray:
        """The images at these positions, uint8 [N, H, W, C]."""
        found = np.empty((len(positions), *self.shape), np.uint8)
        self._read_by(threads, positions, found, None)
        return found

    def _room(self, examples: int) -> np.ndarray | None:
        return np.empty((examples, *self.shape[:2]), np.uint8) if self.masked else None

    def _read_by(self, threads: int, positions: np.ndarray, images: np.ndarray, masks: np.ndarray | None) -> None:
        parts = [slice(begin, begin + PART) for begin in range(0, len(positions), PART)]
        with ThreadPoolExecutor(max(1, threads), thread_name_prefix="fedsam-decode") as pool:
            work = [
                pool.submit(self.read, positions[part], images[part], None if masks is None else masks[part])
                for part in parts
            ]
            try:
                for each in work:
                    each.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def read(self, positions: np.ndarray, images: np.ndarray, masks: np.ndarray | None) -> None:
        """Write the images at these positions, and their masks where there is room for some.

        Raises:
            ValueError: a file cannot be used; the message names it.
        """
        for place, at in enumerate(positions.tolist()):
            pixels, sides = self._opened(at, False)
            if pixels.shape[:2] != self.shape[:2]:
                raise ValueError(f"{self.files.name(at)} is {_sides(pixels)}, others are {_sides(images[0])}")
            if pixels.shape[2] > self.shape[2]:
                raise ValueError(f"{self.files.name(at)} has colour, and the first training image has none")
            images[place] = pixels
            if masks is not None:
                masks[place] = self._mask(at, sides)

    def _mask(self, at: int, image: str) -> np.ndarray:
        name = self.files.name(at, mask=True)
        mask, sides = self._opened(at, True)
        if sides != image:
            raise ValueError(f"{name} is {sides} (height x width), its image is {image}")
        if self.relabel is not None:
            return np.asarray(self.relabel[mask])
        wrong = (mask >= self.classes) & (mask != IGNORE)
        if wrong.any():
            told = f"must be from 0 to {self.classes - 1}, or {IGNORE} where there is none"
            raise ValueError(f"{name} has the class {mask[wrong][0]}, {told}")
        return mask

    def _opened(self, at: int, mask: bool) -> tuple[np.ndarray, str]:
        """An image, uint8 [H, W, C], or a mask, uint8 [H, W]; and the height and width that it has in its file."""
        from PIL import Image

        name = self.files.name(at, mask)
        file = self.files.masks[at] if mask and self.files.masks else self.files.images[at]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(self.files.root / file) as opened:
                    pixels = classes_of(opened, self.size) if mask else pixels_of(opened, self.size)
                    return pixels, f"{opened.height} x {opened.width}"
        except FileNotFoundError:
            raise ValueError(f"{name} is not there") from None
        except Exception as error:  # damaged files make Pillow raise errors of many kinds
            told = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(f"{name} is no {'mask' if mask else 'image'} that can be used ({told})") from None


def classes_of(image: object, size: tuple[int, int] | None) -> np.ndarray:
    """The bytes of a mask, uint8 [H, W]: of an image with a palette the places in it; resized to the nearest.

    Raises:
        ValueError: it has several channels, or more than 8 bits.
    """
    from PIL import Image

    assert isinstance(image, Image.Image)
    if image.mode not in ("L", "P", "1"):
        raise ValueError(f"its mode is {image.mode}, must be one channel of 8 bits, a class a pixel")
    plain = image if size is None else image.resize((size[1], size[0]), Image.Resampling.NEAREST)
    found: np.ndarray = np.asarray(plain).astype(np.uint8)
    return found


def _sides(pixels: np.ndarray) -> str:
    return f"{pixels.shape[0]} x {pixels.shape[1]}"


def listed(
    files: Files,
    which: Sequence[bool] | np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray | None,
) -> tuple[Split, Split]:
    """Training and test examples of files, whose positions are their inputs.

    Args:
        which: whether each file is for test, bool [N].
        targets: of each file.
        groups: of each file.
    """
    tests = np.asarray(which, dtype=bool)
    whole = Split(np.arange(len(files.images)), targets, groups)
    return whole.at(np.flatnonzero(~tests)), whole.at(np.flatnonzero(tests))
