"""What arrays are, by their types and shapes.

Shapes: N examples, H height, W width, C channels, L classes or labels, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedsam.data.base import Split
from fedsam.data.group_names import numbered
from fedsam.data.images.vision import image_spec
from fedsam.data.map_style import Examples
from fedsam.data.spec import Spec
from fedsam.data.tokens import UNCOUNTED

IGNORE = 255
"""What a pixel of a mask holds that has no class."""
CHANNELS = 1, 3, 4
WHITE = 255.0
EXACT = 0.01
"""How far 255 times a pixel may be from the byte that it was divided from."""


def of_arrays(train: Mapping[str, np.ndarray], test: Mapping[str, np.ndarray]) -> tuple[Spec, Split, Split]:
    """A data set of arrays `inputs` and `targets`, and `clients` where it is known where examples come from.

    Inputs are images if they are bytes [N, H, W] or [N, H, W, C] with C = 1, 3 or 4, tokens if they are whole numbers
    of another type, and else numbers. Targets are

    - classes, if they are whole numbers [N];
    - masks [N, H, W] of images of that size, 255 where there is no class;
    - tokens [N, T] of tokens [N, T], −100 where they do not count;
    - else numbers: fractions for `task.name=regression`, zeros and ones [N, L] for `task.name=multilabel`.

    Raises:
        ValueError: shapes of training and test examples do not fit.
    """
    for name in train:
        if name in test and test[name].shape[1:] != train[name].shape[1:]:
            shapes = list(test[name].shape[1:]), list(train[name].shape[1:])
            raise ValueError(f"has test {name} of shape {shapes[0]}, and training {name} of {shapes[1]}")
    names, groups = numbered(train.get("clients"), test.get("clients"))
    inputs, targets = train["inputs"], train["targets"]
    image, tokens = _is_image(inputs), inputs.dtype.kind in "iu" and inputs.dtype != np.uint8
    masks = image and targets.dtype.kind in "iu" and targets.shape[1:] == inputs.shape[1:3]
    following = tokens and targets.dtype.kind in "iu" and targets.shape == inputs.shape and targets.ndim == 2
    more: dict[str, Any] = {"target_shape": targets.shape[1:], "groups": names}
    classes = None
    if targets.dtype.kind in "iu" and (targets.ndim == 1 or masks or following):
        classes = _most(IGNORE if masks else UNCOUNTED, targets, test["targets"]) + 1
    if masks:
        more["ignore"] = IGNORE
    if tokens:
        more["vocabulary"] = max(_most(None, inputs, test["inputs"]) + 1, classes or 0 if following else 0)
        classes = more["vocabulary"] if following else classes
    if image:
        spec: Spec = image_spec(_with_channels(inputs), classes, **more)
    else:
        spec = Spec(classes, inputs.shape[1:], dtype="int64" if tokens else "float32", **more)
    kind = None if masks else np.int64 if classes is not None else np.float32
    parts = [
        Split(_stored(part["inputs"], spec, image), part["targets"].astype(kind or part["targets"].dtype), group)
        for part, group in zip((train, test), groups, strict=True)
    ]
    return spec, parts[0].read_only(), parts[1].read_only()


def of_examples(found: Examples) -> dict[str, np.ndarray]:
    """What `of_arrays` is given, of examples as they were found."""
    arrays = {"inputs": as_bytes(found.inputs), "targets": in_a_row(found.targets)}
    return arrays | ({} if found.groups is None else {"clients": found.groups})


def as_bytes(inputs: np.ndarray) -> np.ndarray:
    """Images with the channels first or of bytes / 255 as bytes [N, H, W, C] or [N, H, W]; all else as it is."""
    first = inputs.ndim == 4 and inputs.shape[1] in CHANNELS and inputs.shape[3] not in CHANNELS
    if inputs.dtype.kind == "f" and (inputs.ndim == 3 or first or _coloured(inputs)):
        scaled = inputs * WHITE
        whole = np.rint(scaled)
        if inputs.min(initial=0) >= 0 and inputs.max(initial=0) <= 1 and (np.abs(scaled - whole) <= EXACT).all():
            inputs = whole.astype(np.uint8)
    return np.ascontiguousarray(inputs.transpose(0, 2, 3, 1)) if first and inputs.dtype == np.uint8 else inputs


def in_a_row(targets: np.ndarray) -> np.ndarray:
    """Targets [N, 1] as [N]; truth values as whole numbers."""
    targets = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
    return targets.astype(np.int64) if targets.dtype.kind == "b" else targets


def _is_image(inputs: np.ndarray) -> bool:
    return inputs.dtype == np.uint8 and (inputs.ndim == 3 or _coloured(inputs))


def _coloured(inputs: np.ndarray) -> bool:
    return inputs.ndim == 4 and inputs.shape[3] in CHANNELS


def _most(aside: int | None, *each: np.ndarray) -> int:
    """The largest number but one."""
    return max(int(array.max(initial=0, where=True if aside is None else array != aside)) for array in each)


def _with_channels(images: np.ndarray) -> np.ndarray:
    return images[..., None] if images.ndim == 3 else images


def _stored(inputs: np.ndarray, spec: Spec, image: bool) -> np.ndarray:
    """Inputs as they are stored."""
    return _with_channels(inputs) if image else inputs.astype(spec.dtype, copy=False)
