"""Labelled images of torchvision's data sets, and what all readers of images need.

Shapes: N images, H height, W width, C channels, L classes.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fedsam.data.base import Split
from fedsam.data.images.spec import ImageSpec
from fedsam.errors import InputError

SILENCE = 30.0  # seconds that a server may keep silent before a download is given up


def from_torchvision(
    make: Callable[..., Any], folder: Path, what: str, files: str, **train_and_test: tuple[Any, Any]
) -> tuple[Split, Split]:
    """Training and test examples of a torchvision data set, downloaded with progress when absent.

    Read once in a process. The arrays are read-only.

    Args:
        make: its class.
        folder: where its files are or will be.
        what: its name, for messages.
        files: which files belong there, for messages.
        train_and_test: the argument that tells the two parts apart, with its two values: `train=(True, False)`.

    Raises:
        InputError: under "root": the files are not there, or damaged, and cannot be downloaded.
    """
    ((argument, values),) = train_and_test.items()
    try:
        return _part(make, folder, argument, values[0]), _part(make, folder, argument, values[1])
    except (OSError, RuntimeError, ValueError, AssertionError, EOFError, http.client.HTTPException) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        allowed = f"no usable {what} there, and none to be downloaded ({reason}); put {files} into it"
        raise InputError("root", str(folder), f"{allowed}, or name the folder that has it") from None


@lru_cache(maxsize=4)
def _part(make: Callable[..., Any], folder: Path, argument: str, value: Any) -> Split:
    try:
        dataset = make(root=str(folder), **{argument: value})
    except RuntimeError:  # absent or damaged
        folder.mkdir(parents=True, exist_ok=True)
        with _given_up_when_silent():
            dataset = make(root=str(folder), download=True, **{argument: value})
    images = np.asarray(dataset.data)
    labels = np.asarray(dataset.targets if hasattr(dataset, "targets") else dataset.labels, dtype=np.int64)
    if images.ndim == 3:
        images = images[:, :, :, None]
    elif images.shape[3] != 3:  # SVHN comes as [N, C, H, W]
        images = images.transpose(0, 2, 3, 1)
    return Split(np.ascontiguousarray(images, dtype=np.uint8), labels).read_only()


@contextmanager
def _given_up_when_silent() -> Iterator[None]:
    """Torchvision waits without end for a server that does not answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def spec_of(train: Split) -> ImageSpec:
    """Classes, shape, and mean and standard deviation of each channel, from training images.

    A channel that is constant gets the standard deviation 1.

    Raises:
        ValueError: a label from 0 to the highest has no image.
    """
    classes_L = np.unique(train.targets)
    if classes_L[-1] != len(classes_L) - 1:
        missing = int(np.argmax(classes_L != np.arange(len(classes_L))))
        raise ValueError(f"labels must be 0 to L - 1: the highest is {classes_L[-1]}, but no image has {missing}")
    return image_spec(train.inputs, len(classes_L))


def image_spec(images: np.ndarray, classes: int | None, **more: Any) -> ImageSpec:
    """Shape, and mean and standard deviation of each channel, of images as bytes [N, H, W, C].

    Args:
        classes: as in `Spec`.
        more: further fields of it.
    """
    height, width, channels = images.shape[1:]
    counts = np.zeros((channels, 256), dtype=np.int64)
    for begin in range(0, len(images), 1000):  # bincount copies to int64
        part = images[begin : begin + 1000]
        counts += np.stack([np.bincount(part[..., c].ravel(), minlength=256) for c in range(channels)])
    share, levels = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
    mean = share @ levels
    std = np.sqrt(np.maximum(share @ levels**2 - mean**2, 0.0))
    std[(counts > 0).sum(axis=1) == 1] = 1.0
    return ImageSpec(classes, (height, width, channels), tuple(mean.tolist()), tuple(std.tolist()), **more)


def check_fit(split: Split, spec: ImageSpec, key: str, given: str) -> None:
    """Refuse images of another shape than `spec` has, or labels beyond its classes.

    Raises:
        InputError: under `key`, which was given as `given`.
    """
    if split.inputs.shape[1:] != spec.shape:
        sizes = [" x ".join(map(str, shape)) for shape in (split.inputs.shape[1:], spec.shape)]
        raise InputError(key, given, f"its images are {sizes[0]} (height x width x channels), must be {sizes[1]}")
    if split.targets.max() >= spec.classes:
        highest = int(split.targets.max())
        raise InputError(key, given, f"has the label {highest}; there are {spec.classes} classes, from 0")


def alike(train: Split, test: Split) -> tuple[Split, Split]:
    """Both splits in RGB if one of them is; grey images get three equal channels."""
    channels = max(train.inputs.shape[3], test.inputs.shape[3])
    return _in_channels(train, channels), _in_channels(test, channels)


def _in_channels(split: Split, channels: int) -> Split:
    if split.inputs.shape[3] == channels:
        return split
    return Split(np.repeat(split.inputs, channels, axis=3), split.targets, split.groups).read_only()
