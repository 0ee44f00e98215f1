"""Masks as they are handed in, and as they are stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fedsam.data.base import Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.intakes import intake_of
from fedsam.data.masks import unlabelled
from fedsam.errors import InputError

L, H, W = 5, 4, 6
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(7, H, W, 3), dtype=np.uint8)
MASKS = RNG.integers(L, size=(7, H, W)).astype(np.uint8)
MASKS[0, 0] = 255


def spec(**changes: Any) -> ImageSpec:
    return ImageSpec(
        **{
            "classes": L,
            "shape": (H, W, 3),
            "mean": (0.5,) * 3,
            "std": (0.3,) * 3,
            "ignore": 255,
            **{"target_shape": (H, W)},
            **changes,
        }
    )


def taken(masks: Any, **changes: Any) -> np.ndarray:
    return intake_of("drawn", spec(**changes)).split(Split(IMAGES, masks), "training").targets


def test_masks_of_bytes_are_kept_as_they_are() -> None:
    given = Split(IMAGES, MASKS)
    assert intake_of("drawn", spec()).split(given, "training") is given


@pytest.mark.parametrize("ignore", [255, -1, 0, 99])
@pytest.mark.parametrize("kind", ["int64", "int16", ">i4", "float32"])
def test_other_numbers_become_bytes(ignore: int, kind: str) -> None:
    given = np.where(MASKS == 255, ignore, MASKS.astype(np.int64)).astype(kind)
    expected = np.where(MASKS == 0, 255, MASKS) if ignore == 0 else MASKS  # a class may be set aside, too
    found = taken(given, ignore=ignore)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)
    assert np.array_equal(taken(given[..., None], ignore=ignore), expected)
    assert np.array_equal(taken(torch.from_numpy(given.astype(np.float32)), ignore=ignore), expected)


def test_many_classes_need_more_than_a_byte() -> None:
    given = MASKS.astype(np.int64) + 295
    found = taken(given, classes=300, ignore=550)
    assert found.dtype == np.int32
    assert np.array_equal(found[MASKS != 255], given[MASKS != 255])
    assert (found[0, 0] == unlabelled(np.dtype(np.int32))).all()
    assert unlabelled(torch.int32) == unlabelled(np.dtype(np.int32)) == 2**31 - 1


@pytest.mark.parametrize(
    ("masks", "changes", "told"),
    [
        (MASKS[:, 1:], {}, r"its training set has masks of shape \[7, 3, 6\], must be \[N, 4, 6\] by the spec"),
        (MASKS, {"ignore": None}, r"has the class 255 in mask 0, must be from 0 to 4$"),
        (
            np.where(np.arange(7)[:, None, None] == 5, 5, MASKS),
            {},
            r"the class 5 in mask 5, must be from 0 to 4, or 255",
        ),
        (np.full((7, H, W), -1), {}, r"the class -1 in mask 0"),
        (np.full((7, H, W), 0.5), {}, r"has masks that are not whole, such as 0.5"),
        (MASKS[:6], {}, r"has 7 images and 6 labels"),
        (MASKS, {"ignore": 1.5}, r"ImageSpec.ignore = 1.5 must be whole numbers"),
    ],
)
def test_what_is_no_mask_is_refused_in_a_line(masks: Any, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        taken(masks, **changes)
    assert "\n" not in str(error.value)
