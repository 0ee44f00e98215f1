"""Arrays from what people keep numbers in: tensors, lists, images, arrays of objects, tables' columns."""

from __future__ import annotations

from typing import Any

import numpy as np


class Unfit(ValueError):
    """What cannot be made an array; the message goes on after "are"."""


def as_array(given: Any, channels: int = 0) -> np.ndarray:
    """An array of numbers, or of truth values, with the same content; the same object if it is one already.

    Args:
        given: an array, a tensor, a column, or a list of numbers, of arrays of one shape, of tensors or of PIL images.
        channels: of the images that are wanted: PIL images that are all grey become RGB where it is 3.

    Raises:
        Unfit: it holds something else.
    """
    if given is None:
        raise Unfit("missing (None)")
    if hasattr(given, "detach"):
        given = _of_tensor(given)
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise Unfit("masked in places")
    if isinstance(given, list | tuple) or getattr(given, "dtype", None) == np.dtype(object):
        given = _of_parts(list(given), channels)
    try:
        found = np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise Unfit(f"{type(given).__name__} ({error})") from None
    if found.dtype.kind not in "biuf" or (found.ndim == 0 and type(given).__module__ not in ("builtins", "numpy")):
        raise Unfit(_kind(given, found))
    return found


def as_numbers(found: np.ndarray) -> np.ndarray:
    """The same numbers as int64.

    Raises:
        Unfit: they are not whole, or too large.
    """
    if found.dtype.kind == "f":
        if not np.isfinite(found).all():
            raise Unfit("NaN or infinite in places")
        if (broken := found[np.rint(found) != found]).size:
            raise Unfit(f"not whole, such as {broken.flat[0]:g}")
    if found.size and found.dtype.itemsize == 8 and max(abs(float(found.min())), abs(float(found.max()))) >= 2**62:
        raise Unfit(f"as large as {found.max()}")
    return found.astype(np.int64, copy=False)


def _of_tensor(given: Any) -> np.ndarray:
    import torch

    tensor = given.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    try:
        found: np.ndarray = tensor.numpy()
    except (RuntimeError, TypeError) as error:
        raise Unfit(f"a tensor that is no array ({error})") from None
    return found


def _of_parts(parts: list[Any], channels: int) -> Any:
    if parts and hasattr(parts[0], "getbands"):
        return _of_images(parts, channels)
    if not any(hasattr(part, "__array__") or hasattr(part, "detach") or isinstance(part, list) for part in parts):
        return _numbers(parts)
    arrays = [as_array(part) for part in parts]
    for one in arrays:
        if one.shape != arrays[0].shape:
            raise Unfit(f"of different shapes: {list(arrays[0].shape)} and {list(one.shape)}")
    return np.stack(arrays)


def _numbers(parts: list[Any]) -> np.ndarray:
    try:
        return np.array(parts)
    except (ValueError, TypeError, OverflowError):
        raise Unfit("of different kinds") from None


def _of_images(parts: list[Any], channels: int) -> np.ndarray:
    from fedsam.data.images.decode import pixels_of

    try:
        arrays = [pixels_of(part, None) for part in parts]
    except (ValueError, OSError, AttributeError) as error:
        raise Unfit(f"PIL images of which one cannot be used ({error})") from None
    most = max([channels, *(one.shape[2] for one in arrays)])
    arrays = [np.repeat(one, most, axis=2) if one.shape[2] == 1 else one for one in arrays]
    return as_array(arrays)


def _kind(given: Any, found: np.ndarray) -> str:
    if found.dtype == object:
        one = found.flat[0] if found.size else given
        return f"objects, such as {type(one).__name__}"
    return {"U": "text", "S": "text", "c": "complex", "V": "records"}.get(found.dtype.kind, f"of type {found.dtype}")
