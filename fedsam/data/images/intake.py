"""What a data set hands in, made bytes and labels where its meaning is certain, and refused in one line where not.

Shapes: N examples, H height, W width, C channels, L classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from fedsam.data.base import Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.intake import Intake
from fedsam.data.plain_array import Unfit, as_array, as_numbers
from fedsam.errors import InputError

WHITE = 255
PART = 1024  # images that are looked at at once
EXACT = 0.01  # how far 255 times a pixel may be from the byte that it was divided from
HALF = 0.1  # in half precision


class ImageIntake(Intake):
    """The one check of a data set's arrays. What is not of the form of `Split` is brought into it where it can mean
    but one thing, with the same bytes and labels that a correct data set has:

    - tensors, lists, PIL images, arrays of any whole-number type, byte order or memory layout;
    - images without channel axis of a grey data set, or with the channels first;
    - pixels as floats that are whole numbers, or bytes divided by 255, or as truth values;
    - labels as whole floats or truth values, as a column [N, 1], or one-hot [N, L].

    Whether floats are bytes divided by 255 the first split decides for all: dark images alone would not tell.

    Args:
        name: of the data set.
        spec: as handed in.

    Raises:
        InputError: under "name": the facts cannot be.
    """

    spec: ImageSpec

    def __init__(self, name: str, spec: ImageSpec) -> None:
        super().__init__(name, spec)
        self._begun = False
        self._gain: float | None = None
        """What floats are multiplied by; None: there must be none."""

    def split(self, given: Any, which: str, empty: bool = False, part: bool = False) -> Split:
        """A split in the right form; the same object if it has it.

        Args:
            given: as handed in.
            which: training, test, ..., for messages.
            empty: whether it may be.
            part: whether it is only what some clients have, so that it need not show what there is in all.

        Raises:
            InputError: under "name": it cannot be used.
        """
        images, labels = self._parts(given, which)
        if not self._begun:
            self._begin(images)
        if labels.shape == (1, len(images)):
            labels = labels.reshape(-1)
        if len(images) != len(labels):
            self._refuse(which, f"has {len(images)} images and {len(labels)} labels; each image needs its own")
        if not len(images):
            if not empty:
                self._refuse(which, "is empty; it needs at least one image")
            none = self._targets(np.empty((0, *self.spec.target_shape), np.int64), which)
            return Split(np.empty((0, *self.spec.shape), np.uint8), none).read_only()
        found_NHWC = self._images(images, which, part)
        plain = self.spec.classes is None or self.spec.target_shape
        found_N = self._targets(labels, which) if plain else self._labels(labels, which, len(images))
        return self._same(given, Split(found_NHWC, found_N, self._groups(given, which, len(images))))

    def _begin(self, images: np.ndarray) -> None:
        """Decide what floats are."""
        self._begun = True
        if images.dtype.kind != "f" or not images.size:
            return
        divided = images.max() <= 1 and (self.spec.scale > 1 or bool((np.rint(images) != images).any()))
        self._gain = 1 if not divided else self.spec.scale if self.spec.scale > 1 else WHITE
        if divided and self.spec.scale == 1:
            self.spec = replace(self.spec, scale=float(WHITE))

    def _parts(self, given: Any, which: str) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(given, tuple | list) and len(given) == 2:
            images, labels = given
        elif hasattr(given, "inputs") and hasattr(given, "targets"):
            images, labels = given.inputs, given.targets
        else:
            self._refuse(which, f"is {type(given).__name__}, must be Split(inputs, targets)")
        channels = self.spec.shape[2]
        return self._array(images, which, "images", channels), self._array(labels, which, "labels")

    def _images(self, images: np.ndarray, which: str, part: bool) -> np.ndarray:
        shape, channels = self.spec.shape, self.spec.shape[2]
        if channels == 1 and images.shape[1:] == shape[:2]:
            images = images[..., None]
        elif images.shape[1:] == (channels, *shape[:2]) and images.shape[1:] != shape:
            images = images.transpose(0, 2, 3, 1)
        if images.shape[1:] != shape:
            wanted = ", ".join(map(str, shape))
            self._refuse(which, f"has images of shape {list(images.shape)}, must be [N, {wanted}] by ImageSpec.shape")
        if images.dtype.kind == "f":
            images = self._rounded(images, which)
        elif images.dtype.kind == "b":
            images = images * np.uint8(min(self.spec.scale, WHITE))
        elif images.dtype != np.uint8:
            self._check_range(int(images.min()), int(images.max()), WHITE, which)
            images = images.astype(np.uint8)
        self._check_scale(images, which, part)
        return np.ascontiguousarray(images)

    def _check_scale(self, images: np.ndarray, which: str, part: bool) -> None:
        """Bytes that the scale or the mean is not meant for."""
        scale, mean = self.spec.scale, max(self.spec.mean)
        if not part and scale > 1 and _top(images, 2) == 1:
            told = f"has no pixel above 1, but {scale:g} is white (ImageSpec.scale)"
            self._refuse(which, f"{told}; multiply the images by {scale:g}, or set the scale to 1")
        if mean <= 1 and scale < WHITE and (top := _top(images, WHITE)) > scale:
            self._refuse(
                which, f"has the pixel {top}, but {scale:g} is white (ImageSpec.scale); set the scale to {WHITE}"
            )
        if not part and mean > 1 and _top(images, WHITE) < mean * scale:
            told = f"must be the mean of pixels / {scale:g}, from 0 to 1"
            self._refuse_fact("mean", self.spec.mean, told)

    def _rounded(self, images: np.ndarray, which: str) -> np.ndarray:
        if self._gain is None:
            self._refuse(which, f"has images of {images.dtype.name}, another split has bytes; hand in bytes alike")
        gain, found, begin = self._gain, np.empty(images.shape, dtype=np.uint8), 0
        off = 0.0 if gain == 1 else HALF if images.dtype.itemsize == 2 else EXACT
        for part in _parted(images):
            if not np.isfinite(part).all():
                self._refuse(which, "has pixels that are NaN or infinite")
            scaled = part.astype(np.float64) * gain
            self._check_range(float(part.min()), float(part.max()), WHITE if gain == 1 else 1, which, off)
            whole = np.rint(scaled)
            if (np.abs(scaled - whole) > off).any():
                right = f"(images * {gain:g}).round().astype('uint8')"
                self._refuse(which, f"has images of {images.dtype.name} that are no bytes / {gain:g}; hand in {right}")
            found[begin : begin + len(part)] = whole
            begin += len(part)
        return found

    def _check_range(self, low: float, high: float, white: int, which: str, off: float = 0.0) -> None:
        if low < 0 or high > white + off:
            hint = "; ImageSpec.mean and ImageSpec.std are taken off later" if low < 0 else ""
            self._refuse(which, f"has pixels from {low:g} to {high:g}, must be bytes, from 0 to {WHITE}{hint}")

    def _labels(self, labels: np.ndarray, which: str, images: int) -> np.ndarray:
        classes = self.spec.classes or 0
        if labels.ndim == 2:
            labels = labels.reshape(-1) if labels.size == images else self._one_hot(labels, which)
        if labels.ndim != 1:
            self._refuse(which, f"has labels of shape {list(labels.shape)}, must be [N], a class for each image")
        try:
            labels = as_numbers(labels)
        except Unfit as error:
            self._refuse(which, f"has labels that are {error}; must be classes, from 0 to {classes - 1}")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            hint = "; they seem to count from 1: subtract 1" if (low, high) == (1, classes) else ""
            told = f"has the label {low if low < 0 else high}, must be from 0 to {classes - 1}"
            self._refuse(which, f"{told} (ImageSpec.classes = {classes}){hint}")
        return np.ascontiguousarray(labels)

    def _one_hot(self, labels: np.ndarray, which: str) -> np.ndarray:
        marks = ((labels == 0) | (labels == 1)).all()
        if not (marks and labels.shape[1] == self.spec.classes and (labels.sum(axis=1) == 1).all()):
            several = ", several classes for an image" if marks and (labels.sum(axis=1) > 1).any() else ""
            told = f"has labels of shape {list(labels.shape)}{several}"
            last = (self.spec.classes or 0) - 1
            self._refuse(which, f"{told}, must be [N], a class for each image, from 0 to {last}")
        chosen: np.ndarray = labels.argmax(axis=1)
        return chosen

    def _checked(self, spec: Any) -> ImageSpec:
        classes = None
        if spec.classes is not None:
            classes, *rest = self._fact(spec, "classes", whole=True)
            if rest or classes < 1:
                self._refuse_fact("classes", spec.classes, "must be a whole number, at least 1")
        shape = self._fact(spec, "shape", whole=True)
        if len(shape) != 3 or min(shape) < 1:
            self._refuse_fact("shape", spec.shape, "must be (H, W, C), with C = 1 for grey images")
        scale, *rest = self._fact(spec, "scale")
        if rest or scale <= 0:
            self._refuse_fact("scale", spec.scale, "must be the pixel that is white, above 0; 255 as a rule")
        most = max(1.0, WHITE / scale)
        for field, least in (("mean", "from 0"), ("std", "above 0")):
            found, given = self._fact(spec, field), getattr(spec, field)
            if len(found) != shape[2]:
                hint = ", with the channels last" if len(found) == shape[0] else ""
                self._refuse_fact(field, given, f"must have a number for each channel; ImageSpec.shape = {shape}{hint}")
            if min(found) < 0 or (field == "std" and min(found) == 0) or max(found) > most:
                self._refuse_fact(field, given, f"must be that of pixels / {scale:g}, {least} to {most:g}")
        height, width, channels = shape
        mean, std = self._fact(spec, "mean"), self._fact(spec, "std")
        self._check_groups(spec)
        others = {
            "target_shape": spec.target_shape,
            "names": spec.names,
            "groups": spec.groups,
            "ignore": self._ignored(spec),
        }
        clean = ImageSpec(classes, (height, width, channels), mean, std, scale, **others)
        return spec if repr(spec) == repr(clean) else clean

    def _ignored(self, spec: ImageSpec) -> int | None:
        if spec.ignore is None:
            return None
        found, *rest = self._fact(spec, "ignore", whole=True)
        if rest:
            self._refuse_fact("ignore", spec.ignore, "must be one whole number, what pixels without a class hold")
        return int(found)

    def _fact(self, spec: ImageSpec, field: str, whole: bool = False) -> tuple[Any, ...]:
        given = getattr(spec, field)
        try:
            found = np.atleast_1d(as_array(given))
            numbers = as_numbers(found) if whole else found.astype(np.float64)
            if numbers.ndim != 1 or not np.isfinite(numbers).all():
                raise Unfit
        except Unfit:
            self._refuse_fact(field, given, f"must be {'whole' if whole else 'finite'} numbers")
        return tuple(numbers.tolist())

    def _refuse_fact(self, field: str, given: Any, told: str) -> NoReturn:
        raise InputError("name", self.name, f"ImageSpec.{field} = {' '.join(repr(given).split())[:60]} {told}")


def _parted(images: np.ndarray) -> Iterator[np.ndarray]:
    return (images[begin : begin + PART] for begin in range(0, len(images), PART))


def _top(images: np.ndarray, enough: int) -> int:
    """The largest byte, or one that is at least `enough`."""
    top = 0
    for part in _parted(images):
        top = max(top, int(part.max()))
        if top >= enough:
            break
    return top
