"""Forms in which images and labels are handed in: some can mean one thing only, others are of no use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from fedsam import Run
from fedsam.data.base import Dataset
from fedsam.data.images.spec import ImageSpec
from fedsam.rng import stream

Change = Callable[[np.ndarray, np.ndarray], Any]
SPEC = ImageSpec(4, (6, 5, 3), (0.4, 0.5, 0.45), (0.3, 0.25, 0.2))
GREY = ImageSpec(4, (6, 5, 1), (0.5,), (0.3,))


def arrays(channels: int = 3, examples: int = 24) -> tuple[np.ndarray, np.ndarray]:
    rng = stream(7, "intake")
    images = rng.integers(256, size=(examples, 6, 5, channels), dtype=np.uint8)
    images[0, 0, 0], images[1, 0, 0] = 0, 255
    return images, np.arange(examples) % 4


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def objects(array: np.ndarray) -> np.ndarray:
    found = np.empty(len(array), dtype=object)
    for at, one in enumerate(array):
        found[at] = one
    return found


CERTAIN: dict[str, Change] = {
    "as it should be": lambda x, y: (x, y),
    "a pair": lambda x, y: [x, y],
    "read-only": lambda x, y: (read_only(x), read_only(y)),
    "not contiguous": lambda x, y: (np.repeat(x, 2, axis=0)[::2], np.repeat(y, 2)[::2]),
    "columns first in memory": lambda x, y: (np.asfortranarray(x), y),
    "channels first": lambda x, y: (x.transpose(0, 3, 1, 2), y),
    "tensors": lambda x, y: (torch.from_numpy(x), torch.from_numpy(y)),
    "tensors, channels first, with gradient": lambda x, y: (
        (torch.from_numpy(x).permute(0, 3, 1, 2).double() / 255).requires_grad_(),
        torch.from_numpy(y).int(),
    ),
    "lists": lambda x, y: (x.tolist(), y.tolist()),
    "list of arrays": lambda x, y: (list(x), list(y)),
    "list of tensors": lambda x, y: ([torch.from_numpy(one) for one in x], [torch.tensor(one) for one in y]),
    "objects": lambda x, y: (objects(x), y.astype(object)),
    "PIL images": lambda x, y: ([Image.fromarray(one) for one in x], y),
    "int64 images": lambda x, y: (x.astype(np.int64), y),
    "uint16 images": lambda x, y: (x.astype(">u2"), y),
    "whole floats": lambda x, y: (x.astype(np.float32), y),
    "floats from 0 to 1": lambda x, y: ((x / 255).astype(np.float32), y),
    "floats in half precision": lambda x, y: ((x / 255).astype(np.float16), y),
    "doubles, the other byte order": lambda x, y: ((x / 255).astype(">f8"), y.astype(">i4")),
    "uint8 labels": lambda x, y: (x, y.astype(np.uint8)),
    "uint64 labels": lambda x, y: (x, y.astype(np.uint64)),
    "float labels": lambda x, y: (x, y.astype(np.float32)),
    "a column of labels": lambda x, y: (x, y[:, None].astype(np.uint8)),
    "a row of labels": lambda x, y: (x, y[None]),
    "one-hot labels": lambda x, y: (x, np.eye(4)[y]),
    "one-hot truth values": lambda x, y: (x, torch.eye(4)[torch.from_numpy(y)].bool()),
}


REFUSED: dict[str, tuple[Change, str]] = {
    "nothing": (lambda x, y: None, "is NoneType, must be Split"),
    "no images": (lambda x, y: (None, y), "has images that are missing (None); must be arrays"),
    "surplus images": (lambda x, y: (x, y[:15]), "has 24 images and 15 labels; each image needs its own"),
    "surplus labels": (lambda x, y: (x[:15], y), "has 15 images and 24 labels; each image needs its own"),
    "empty": (lambda x, y: (x[:0], y[:0]), "is empty; it needs at least one image"),
    "paths": (lambda x, y: (["a.png"] * 24, y), "has images that are text; must be arrays"),
    "a number": (lambda x, y: (5, y), "has images that are a single number; must be arrays"),
    "ragged": (
        lambda x, y: ([*x[:-1], x[0, :4]], y),
        "has images that are of different shapes: [6, 5, 3] and [4",
    ),
    "16-bit images": (lambda x, y: (x * np.uint16(257), y), "has pixels from 0 to 65535, must be bytes, from 0 to 255"),
    "signed": (
        lambda x, y: (x.astype(np.int16) - 128, y),
        "has pixels from -128 to 127, must be bytes, from 0 to 255",
    ),
    "normalised": (lambda x, y: ((x / 255 - 0.5) / 0.5, y), "has pixels from -1 to 1, must be bytes, from 0 to 255"),
    "resized floats": (
        lambda x, y: (x / 510, y),
        "has images of float64 that are no bytes / 255; hand in (ima",
    ),
    "floats between bytes": (lambda x, y: (x * 0.5, y), "has images of float64 that are no bytes / 1; hand in (images"),
    "NaN": (lambda x, y: (np.where(x == 255, np.nan, x / 255), y), "has pixels that are NaN or infinite"),
    "infinite": (lambda x, y: (np.where(x == 255, np.inf, x / 255), y), "has pixels that are NaN or infinite"),
    "divided as bytes": (
        lambda x, y: (x // 255, y),
        "has no pixel above 1, but 255 is white (ImageSpec.scale); multiply",
    ),
    "one channel": (lambda x, y: (x[..., :1], y), "has images of shape [24, 6, 5, 1], must be [N, 6, 5, 3] by ImageS"),
    "flat": (
        lambda x, y: (x.reshape(len(x), -1), y),
        "has images of shape [24, 90], must be [N, 6, 5, 3] by ImageSpec.shape",
    ),
    "labels from 1": (
        lambda x, y: (x, y + 1),
        "has the label 4, must be from 0 to 3 (ImageSpec.classes = 4); they s",
    ),
    "label -1": (lambda x, y: (x, y - 1), "has the label -1, must be from 0 to 3 (ImageSpec.classes = 4)"),
    "more classes": (lambda x, y: (x, y * 2), "has the label 6, must be from 0 to 3 (ImageSpec.classes = 4)"),
    "broken labels": (
        lambda x, y: (x, y / 2),
        "has labels that are not whole, such as 0.5; must be classes",
    ),
    "NaN labels": (
        lambda x, y: (x, np.where(y == 0, np.nan, y)),
        "has labels that are NaN or infinite in places",
    ),
    "text labels": (lambda x, y: (x, y.astype(str)), "has labels that are text; must be arrays"),
    "vast labels": (lambda x, y: (x, y.astype(np.uint64) + 2**63), "has labels that are as large as 92233720368547758"),
    "no label": (lambda x, y: (x, [None, *y[1:]]), "has labels that are missing (None); must be arrays"),
    "two classes": (lambda x, y: (x, np.eye(4)[y] + np.eye(4)[0]), "has labels of shape [24, 4], must be [N], a class"),
    "multi-label": (
        lambda x, y: (x, np.ones((24, 4), np.uint8)),
        "has labels of shape [24, 4], several classes for an image, must be [N]",
    ),
    "one-hot of another number": (lambda x, y: (x, np.eye(5)[y]), "has labels of shape [24, 5], must be [N], a class"),
    "masks": (lambda x, y: (x, x[..., 0]), "has labels of shape [24, 6, 5], must be [N], a class for each image"),
    "16-bit PIL": (
        lambda x, y: ([Image.fromarray(x[0, ..., 0].astype(np.uint16))] * 24, y),
        "has images that are PIL images of which one cannot be used (its mode is I;16",
    ),
}


def described(data: Dataset) -> Run:
    keys: dict[str, Any] = {"data": data, "rounds": 2, "cohort": 2, "evaluate_every": 1, "engine.name": "loop"}
    return Run.from_keys(keys)
