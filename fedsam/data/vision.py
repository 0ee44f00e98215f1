"""Reading of labelled images: Parquet in the Hugging Face layout, and torchvision's data sets.

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

from fedsam.data.base import Facts, Split
from fedsam.data.images import decode_kept
from fedsam.errors import InputError

Stamp = tuple[tuple[str, int, int], ...]

SILENCE = 30.0  # seconds that a server may keep silent before a download is given up


def stamp(*paths: Path) -> Stamp:
    """Name, size and time of change of these files and of all files in these folders; absent ones are left out."""
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return tuple((str(file), s.st_size, s.st_mtime_ns) for file in files if (s := file.stat()) and file.is_file())


def read_parquet(path: Path, image_columns: tuple[str, ...], label_column: str, key: str) -> Split:
    """Labelled images of a Parquet file: a column struct(bytes, path), or plain bytes, and a column of whole numbers.

    A file that has not changed is read once in a process. The arrays are read-only.

    Args:
        path: of the file.
        image_columns: the column of the images; the first that is there.
        label_column: the column of the labels.
        key: that named the file, for messages.

    Raises:
        InputError: under `key`: the file is missing or unreadable, lacks a column, or holds something else.
    """
    if not path.is_file():
        raise InputError(key, str(path), "there is no such file")
    try:
        return _read_parquet(path, image_columns, label_column, stamp(path))
    except ValueError as error:
        raise InputError(key, str(path), str(error)) from None


@lru_cache(maxsize=4)
def _read_parquet(path: Path, image_columns: tuple[str, ...], label_column: str, changed: Stamp) -> Split:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            there = file.schema_arrow.names
            image_column = next((column for column in image_columns if column in there), image_columns[0])
            for column in (image_column, label_column):
                if column not in there:
                    raise ValueError(f"has no column {column!r}; it has {', '.join(there)}")
            table = file.read(columns=[image_column, label_column])
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"is no Parquet file that can be read ({str(error).splitlines()[0]})") from None
    labels = table[label_column]
    if not pa.types.is_integer(labels.type) or labels.null_count:
        held = f"{labels.type}{' with gaps' * bool(labels.null_count)}"
        raise ValueError(f"column {label_column!r} is {held}, must be a whole number in each row")
    if not len(labels):
        raise ValueError("has no rows")
    numbers = labels.to_numpy().astype(np.int64)
    if numbers.min() < 0:
        raise ValueError(f"column {label_column!r} has the label {numbers.min()}; labels count from 0")
    images = decode_kept(_image_bytes(table[image_column], image_column), lambda row: f"the image in row {row}")
    return Split(images, numbers).read_only()


def _image_bytes(column: Any, name: str) -> list[bytes]:
    import pyarrow as pa

    chunks = column.chunks
    if pa.types.is_struct(column.type) and (field := column.type.get_field_index("bytes")) >= 0:
        chunks = [chunk.flatten()[field] for chunk in chunks]
    files = [file for chunk in chunks for file in chunk.to_pylist()]
    for row, file in enumerate(files):
        if not isinstance(file, bytes):
            held = f"row {row} holds {'none' if file is None else type(file).__name__}"
            raise ValueError(f"column {name!r} must hold image files, as struct(bytes, path) or binary; {held}")
    return files


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


def facts_of(train: Split) -> Facts:
    """Classes, shape, and mean and standard deviation of each channel, from training images.

    A channel that is constant gets the standard deviation 1.

    Raises:
        ValueError: a label from 0 to the highest has no image.
    """
    classes_L = np.unique(train.labels)
    if classes_L[-1] != len(classes_L) - 1:
        missing = int(np.argmax(classes_L != np.arange(len(classes_L))))
        raise ValueError(f"labels must be 0 to L - 1: the highest is {classes_L[-1]}, but no image has {missing}")
    height, width, channels = train.images.shape[1:]
    counts = np.zeros((channels, 256), dtype=np.int64)
    for begin in range(0, len(train), 1000):  # bincount copies to int64
        part = train.images[begin : begin + 1000]
        counts += np.stack([np.bincount(part[..., c].ravel(), minlength=256) for c in range(channels)])
    share, levels = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
    mean = share @ levels
    std = np.sqrt(np.maximum(share @ levels**2 - mean**2, 0.0))
    std[(counts > 0).sum(axis=1) == 1] = 1.0
    return Facts(len(classes_L), (height, width, channels), tuple(mean.tolist()), tuple(std.tolist()))


def check_fit(split: Split, facts: Facts, key: str, given: str) -> None:
    """Refuse images of another shape than `facts` has, or labels beyond its classes.

    Raises:
        InputError: under `key`, which was given as `given`.
    """
    if split.images.shape[1:] != facts.shape:
        sizes = [" x ".join(map(str, shape)) for shape in (split.images.shape[1:], facts.shape)]
        raise InputError(key, given, f"its images are {sizes[0]} (height x width x channels), must be {sizes[1]}")
    if split.labels.max() >= facts.classes:
        highest = int(split.labels.max())
        raise InputError(key, given, f"has the label {highest}; there are {facts.classes} classes, from 0")
