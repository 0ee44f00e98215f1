"""Masks, a class for each pixel, as they are stored: bytes where they suffice, and one number for every pixel without
label.

Shapes: N masks, H height, W width, L classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

PART = 256  # masks that are looked at at once


class MaskError(ValueError):
    """A mask has what is neither a class nor ignored; the message goes on after "has"."""


def unlabelled(dtype: np.dtype | torch.dtype) -> int:
    """What a stored pixel without label holds, the largest number of its type: 255 in a byte. It is never a class."""
    info = torch.iinfo(dtype) if isinstance(dtype, torch.dtype) else np.iinfo(dtype)
    return int(info.max)


def are_masks(inputs: torch.Tensor, targets: torch.Tensor) -> bool:
    """Whether the targets [B, H, W] of images [B, H, W, C] are such, so that they move with them."""
    return inputs.dim() == 4 and targets.dim() == 3 and targets.shape == inputs.shape[:3]


def outside(masks: torch.Tensor) -> int:
    """What a pixel holds that an image was padded with: no label, and 0 where targets are no classes."""
    return 0 if masks.is_floating_point() else unlabelled(masks.dtype)


def stored(masks_NHW: np.ndarray, classes: int, ignore: int | None) -> np.ndarray:
    """Masks in the type in which they are stored, uint8 up to 255 classes and else int32; the same object if they are.

    Args:
        masks_NHW: whole numbers.
        classes: L.
        ignore: what a pixel without label holds here; None = each has a class.

    Raises:
        MaskError: a pixel has neither a class nor `ignore`.
    """
    kind = np.dtype(np.uint8 if classes <= np.iinfo(np.uint8).max else np.int32)
    without = unlabelled(kind)
    fits = masks_NHW.dtype == kind and (ignore is None or ignore == without)
    found = np.ascontiguousarray(masks_NHW) if fits else np.empty(masks_NHW.shape, kind)
    for first, part in _parted(masks_NHW):
        ignored = np.zeros(part.shape, bool) if ignore is None else part == ignore
        wrong = ((part < 0) | (part >= classes)) & ~ignored
        if wrong.any():
            at = int(np.flatnonzero(wrong.reshape(len(part), -1).any(axis=1))[0])
            last = f"from 0 to {classes - 1}" + ("" if ignore is None else f", or {ignore} where there is none")
            raise MaskError(f"the class {part[at][wrong[at]][0]} in mask {first + at}, must be {last}")
        if not fits:
            found[first : first + len(part)] = np.where(ignored, without, part)
    return found


def _parted(masks: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    return ((first, masks[first : first + PART]) for first in range(0, len(masks), PART))
