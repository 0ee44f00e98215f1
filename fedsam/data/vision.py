"""Reading of image files: Parquet in the Hugging Face layout, and torchvision's data sets."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fedsam.data.base import Split
from fedsam.errors import InputError

CHUNK = 512  # images that a thread decodes before it takes the next


def decode(files: Sequence[bytes], mode: str | None = None) -> list[np.ndarray]:
    """Images from the bytes of PNG, JPEG, ... files: uint8 [H, W, C].

    Args:
        files: one image each.
        mode: "L" (grey, C = 1) or "RGB" (C = 3); None = that of the first image, RGB if it is neither.

    Raises:
        ValueError: a file is no image; the message says which.
    """
    from PIL import Image

    def one(position: int) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(files[position])) as image:
                pixels = np.asarray(image if image.mode == wanted else image.convert(wanted))
        except OSError as error:
            raise ValueError(f"image {position} cannot be decoded ({error})") from None
        return pixels[:, :, None] if pixels.ndim == 2 else pixels

    def several(begin: int) -> list[np.ndarray]:
        return [one(position) for position in range(begin, min(begin + CHUNK, len(files)))]

    if mode is None and files:
        try:
            with Image.open(io.BytesIO(files[0])) as first:
                mode = "L" if first.mode in ("L", "1", "I;16") else "RGB"
        except OSError as error:
            raise ValueError(f"image 0 cannot be decoded ({error})") from None
    wanted = mode or "RGB"
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [pixels for chunk in pool.map(several, range(0, len(files), CHUNK)) for pixels in chunk]


def stacked(images: list[np.ndarray]) -> np.ndarray:
    """One array uint8 [N, H, W, C].

    Raises:
        ValueError: the images differ in size; the message names the first two sizes.
    """
    for position, image in enumerate(images):
        if image.shape != images[0].shape:
            one, other = images[0].shape, image.shape
            raise ValueError(f"images differ in size: image 0 is {one[0]} x {one[1]}, image {position} is {other[0]} x {other[1]}")
    return np.stack(images)


def read_parquet(path: Path, image_column: str, label_column: str, key: str) -> Split:
    """Labelled images of a Parquet file: a column struct(bytes, path), or plain bytes, and an integer column.

    The same file is read once in a process.

    Raises:
        InputError: under `key`: the file is missing or unreadable, lacks a column, or holds something else.
    """
    if not path.is_file():
        raise InputError(key, str(path), "there is no such file")
    return _read_parquet(path, image_column, label_column, key, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read_parquet(path: Path, image_column: str, label_column: str, key: str, changed: int) -> Split:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(key, str(path), f"is no readable Parquet file ({str(error).splitlines()[0]})") from None
    for column in (image_column, label_column):
        if column not in table.column_names:
            raise InputError(key, str(path), f"has no column {column!r}; it has {', '.join(table.column_names)}")
    images, labels = table[image_column].combine_chunks(), table[label_column].combine_chunks()
    if pyarrow.types.is_struct(images.type) and images.type.get_field_index("bytes") >= 0:
        images = images.field("bytes")
    if not (pyarrow.types.is_binary(images.type) or pyarrow.types.is_large_binary(images.type)) or images.null_count:
        raise InputError(key, str(path), f"column {image_column!r} must hold the bytes of image files, as struct(bytes, path) or binary")
    if not pyarrow.types.is_integer(labels.type) or labels.null_count:
        raise InputError(key, str(path), f"column {label_column!r} must hold whole numbers, it is {labels.type}")
    if not len(labels):
        raise InputError(key, str(path), "holds no images")
    try:
        pixels = stacked(decode(images.to_pylist()))
    except ValueError as error:
        raise InputError(key, str(path), str(error)) from None
    numbers = labels.to_numpy(zero_copy_only=False).astype(np.int64)
    if numbers.min() < 0:
        raise InputError(key, str(path), f"column {label_column!r} has the label {numbers.min()}; labels count from 0")
    return Split(pixels, numbers)


def from_torchvision(make: Callable[..., Any], folder: Path, what: str, files: str, **train_and_test: tuple[Any, Any]) -> tuple[Split, Split]:
    """Training and test examples of a torchvision data set, downloaded with progress when absent.

    Args:
        make: its class.
        folder: where its files are or will be.
        what: its name, for messages.
        files: which files belong there, for messages.
        train_and_test: the argument that tells the two parts apart, with its two values: `train=(True, False)`.

    Raises:
        InputError: under "root": the files are not there and cannot be downloaded, or are damaged.
    """
    ((argument, values),) = train_and_test.items()
    return _part(make, folder, what, files, argument, values[0]), _part(make, folder, what, files, argument, values[1])


@lru_cache(maxsize=4)
def _part(make: Callable[..., Any], folder: Path, what: str, files: str, argument: str, value: Any) -> Split:
    try:
        try:
            dataset = make(root=str(folder), download=False, **{argument: value})
        except RuntimeError:  # absent or damaged
            folder.mkdir(parents=True, exist_ok=True)
            dataset = make(root=str(folder), download=True, **{argument: value})
    except (OSError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        allowed = f"{what} is not there and cannot be downloaded ({reason}); put {files} into it, or set data.root to where they are"
        raise InputError("root", str(folder), allowed) from None
    images = np.asarray(dataset.data)
    labels = np.asarray(dataset.targets if hasattr(dataset, "targets") else dataset.labels, dtype=np.int64)
    if images.ndim == 3:
        images = images[:, :, :, None]
    elif images.shape[1] == 3:  # SVHN comes as [N, C, H, W]
        images = images.transpose(0, 2, 3, 1)
    return Split(np.ascontiguousarray(images, dtype=np.uint8), labels)
