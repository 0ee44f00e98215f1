"""Decoding of image files.

Shapes: N images, H height, W width, C channels.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fedsam.border.budget import amount, free_memory

log = logging.getLogger("fedsam")

WORTH_KEEPING = 10_000  # images; decoding that many small ones takes half a second

GREY = {"1", "L", "LA"}
COLOUR = {"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"}


def decode(sources: Sequence[bytes | Path], name: Callable[[int], str], size: int | None = None) -> np.ndarray:
    """Images from PNG, JPEG, ... files: uint8 [N, H, W, C], C = 3 if any of them has colour, else 1.

    Transparency is left out, palettes are resolved. One thread: Pillow holds the interpreter's lock while it decodes.

    Args:
        sources: the bytes of each file, or its path; at least one.
        name: what a message calls the image at a position.
        size: resize each image to size x size (bilinear, antialiased); None = all must agree in size.

    Raises:
        ValueError: an image cannot be decoded, has not 8 bits a channel, or differs in size, in which case the message
            names it; or memory cannot hold them.
    """
    from PIL import Image

    if size is not None:
        _check_room(len(sources), size, size, 1)
    decoded: np.ndarray | None = None
    for position, source in enumerate(sources):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # of twice as many it makes an error
                with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
                    pixels = pixels_of(opened, size)
        except Exception as error:  # damaged files make Pillow raise errors of many kinds
            raise ValueError(f"{name(position)} is no image that can be used ({_first_line(error)})") from error
        if decoded is None:
            _check_room(len(sources), *pixels.shape)
            decoded = np.empty((len(sources), *pixels.shape), dtype=np.uint8)
        if pixels.shape[:2] != decoded.shape[1:3]:
            (height, width), (first_height, first_width) = pixels.shape[:2], decoded.shape[1:3]
            raise ValueError(
                f"{name(position)} is {height} x {width} (height x width), {name(0)} is {first_height} x {first_width}"
            )
        if pixels.shape[2] > decoded.shape[3]:
            decoded = np.repeat(decoded, 3, axis=3)
        decoded[position] = pixels
    assert decoded is not None
    return decoded


def pixels_of(image: object, size: int | tuple[int, int] | None) -> np.ndarray:
    """A PIL image as uint8 [H, W, C], C = 3 if it has colour, else 1; resized to size x size, or to height and width,
    unless that is None.

    Raises:
        ValueError: it has not 8 bits a channel.
    """
    from PIL import Image

    assert isinstance(image, Image.Image)
    if image.mode not in GREY | COLOUR:
        raise ValueError(f"its mode is {image.mode}, must be grey or RGB of 8 bits")
    wanted = "L" if image.mode in GREY else "RGB"
    plain = image if image.mode == wanted else image.convert(wanted)
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        plain = plain.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(plain)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _check_room(*shape: int) -> None:
    """Refuse more bytes than this process can have.

    Raises:
        ValueError: memory cannot hold an array of this shape.
    """
    needed, there = math.prod(shape), free_memory()
    if needed > there:
        images = f"{shape[0]} images of {shape[1]} x {shape[2]}"
        raise ValueError(f"{images} need {amount(needed)}, of {amount(there)} of memory that are free")


def decode_kept(files: Sequence[bytes], name: Callable[[int], str]) -> np.ndarray:
    """`decode`, where the result for many images is kept in ~/.cache/fedsam/decoded and found there the next time.

    The key is a checksum of the files and of the decoder's version. What is found is mapped into memory, read-only.
    Where the folder cannot be written to, nothing is kept.
    """
    if len(files) < WORTH_KEEPING:
        return decode(files, name)
    try:
        path = Path.home() / ".cache" / "fedsam" / "decoded" / f"{_checksum(files)}.npy"
    except RuntimeError:  # there is no home directory
        return decode(files, name)
    found = _mapped(path, len(files))
    if found is not None:
        return found
    images = decode(files, name)
    _keep(path, images)
    return images


def _checksum(files: Sequence[bytes]) -> str:
    import PIL
    from PIL import features

    # JPEG decoders may differ in the last bit
    digest = hashlib.sha256(f"{PIL.__version__} {features.version('jpg')}".encode())
    for file in files:
        digest.update(len(file).to_bytes(8, "little"))
        digest.update(file)
    return digest.hexdigest()


def _mapped(path: Path, images: int) -> np.ndarray | None:
    try:
        found = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError):  # absent or cut short
        return None
    right = found.dtype == np.uint8 and found.ndim == 4 and len(found) == images and found.shape[3] in (1, 3)
    return found if right else None


def _keep(path: Path, images: np.ndarray) -> None:
    aside = path.with_name(f"{path.stem}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("wb") as file:
                np.save(file, images, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        log.info("decoded images are not kept for the next run (%s)", error)
        return
    log.info("decoded images are kept for the next run in %s (%.0f MB)", path.parent, images.nbytes / 1e6)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
