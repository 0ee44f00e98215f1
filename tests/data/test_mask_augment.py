"""Augmentations of images with masks, pixel by pixel: what moves an image moves its mask, what paints it does not.

Shapes: B batch, H height, W width, C channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import vmap
from torch.nn import functional as F  # noqa: N812
from torchvision.transforms import functional as theirs

from fedsam import InputError
from fedsam.config import find, names, resolve
from fedsam.data.augment.base import Augment
from fedsam.data.augment.colour_jitter import ColourJitter
from fedsam.data.augment.crop_flip import CropFlip
from fedsam.data.augment.scale_crop import ScaleCrop
from fedsam.data.images.spec import ImageSpec
from fedsam.data.masks import unlabelled
from fedsam.rng import stream

B, H, W = 6, 11, 14
SPEC = ImageSpec(5, (H, W, 3), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), target_shape=(H, W))
MOVING = [
    CropFlip(),
    CropFlip(crop_padding=0),
    ScaleCrop(),
    ScaleCrop(scale_least=0.3, scale_most=0.4),
    *(resolve(Augment, {"name": "cutout", "cutout_after": inner}) for inner in ("crop_flip", "scale_crop")),
    resolve(Augment, {"name": "colour_jitter", "jitter_after": "scale_crop"}),
]


def step(augment: Augment, seed: int = 0, batch: int = B) -> dict[str, Tensor]:
    draws = augment.draw(stream(seed, "augment"), np.array([batch]), batch, (H, W, 3))
    return {name: torch.from_numpy(array[0]) for name, array in draws.items()}


def coded(kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Images whose pixels say where they lie, ten times row and column, then 200; and masks that do."""
    row, column = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    images = torch.stack([10 * row, 10 * column, torch.full_like(row, 200)], dim=-1).to(torch.uint8)
    masks = (row * W + column).to(kind)
    return images.expand(B, H, W, 3).contiguous(), masks.expand(B, H, W).contiguous()


@pytest.mark.parametrize("augment", MOVING, ids=lambda augment: "-".join(map(str, augment.keys().values())))
@pytest.mark.parametrize("kind", [torch.uint8, torch.int32])
def test_a_mask_moves_with_its_image(augment: Augment, kind: torch.dtype) -> None:
    images, masks = coded(kind)
    moved_images, moved_masks = augment.stored(images, masks, step(augment))
    assert moved_masks.dtype == kind
    assert moved_images.dtype == torch.uint8
    apart = 0
    for image, mask in zip(moved_images.int(), moved_masks.long(), strict=True):
        for i in range(H):
            for j in range(W):
                row, column, there = image[i, j].tolist()
                if not there:
                    assert mask[i, j] == unlabelled(kind)
                    continue
                own = divmod(int(mask[i, j]), W)
                assert max(abs(10 * own[0] - row), abs(10 * own[1] - column)) <= 5  # half a pixel from the nearest
                apart += own != (i, j)
    assert apart > 50


@pytest.mark.parametrize("augment", [n for n in names(Augment) if "single labels" not in find(Augment, n).requires])
def test_vmap_moves_masks_as_one_by_one(augment: str) -> None:
    one: Augment = resolve(Augment, augment)
    images = torch.from_numpy(stream(1, "images").integers(256, size=(2, B, H, W, 3), dtype=np.uint8))
    masks = torch.from_numpy(stream(2, "masks").integers(5, size=(2, B, H, W), dtype=np.uint8))
    draws = [step(one, seed) for seed in (0, 1)]
    together = vmap(one.stored)(images, masks, {name: torch.stack([each[name] for each in draws]) for name in draws[0]})
    for k in range(2):
        for found, alone in zip(together, one.stored(images[k], masks[k], draws[k]), strict=True):
            assert torch.equal(found[k], alone)


def test_targets_that_are_no_masks_stay() -> None:
    images, _ = coded(torch.uint8)
    for targets in (torch.arange(B), torch.rand(B, H), torch.zeros(B, H, W + 1)):
        for augment in MOVING:
            assert augment.stored(images, targets, step(augment))[1] is targets


# scale and crop


def scaled_slowly(image: np.ndarray, down: np.ndarray, across: np.ndarray, nearest: bool) -> np.ndarray:
    """By the formula, a pixel at a time, rows before columns as bytes of 1/256 are rounded."""
    found = np.zeros(image.shape, np.int64)
    for i, y in enumerate(down.tolist()):
        for j, x in enumerate(across.tolist()):
            own = [int(np.floor(at / 256 + 0.5)) for at in (y, x)]
            if not (0 <= own[0] < H and 0 <= own[1] < W):
                found[i, j] = 255 if nearest else 0
            elif nearest:
                found[i, j] = image[own[0], own[1]]
            else:
                (top, left), (v, u) = (y // 256, x // 256), (y % 256, x % 256)
                rows, columns = ([min(max(k + more, 0), n - 1) for more in (0, 1)] for k, n in ((top, H), (left, W)))
                above, below = (image[row, columns] for row in rows)
                pair = np.floor((above * (256.0 - v) + below * v) / 256 + 0.5)
                found[i, j] = np.floor((pair[0] * (256.0 - u) + pair[1] * u) / 256 + 0.5)
    return found


@pytest.mark.parametrize("factors", [(0.5, 2.0), (1.0, 1.0), (0.2, 0.3), (3.0, 3.0)])
def test_scale_crop_equals_a_loop_over_pixels(factors: tuple[float, float]) -> None:
    augment = ScaleCrop(scale_least=factors[0], scale_most=factors[1])
    images = torch.from_numpy(stream(1, "images").integers(256, size=(B, H, W, 3), dtype=np.uint8))
    masks = torch.from_numpy(stream(2, "masks").integers(5, size=(B, H, W), dtype=np.uint8))
    draws = step(augment, 5)
    moved, targets = augment.stored(images, masks, draws)
    for b in range(B):
        places = draws["scale_down"][b].numpy(), draws["scale_across"][b].numpy()
        assert np.array_equal(moved[b], scaled_slowly(images[b].numpy().astype(float), *places, nearest=False))
        assert np.array_equal(targets[b], scaled_slowly(masks[b].numpy(), *places, nearest=True))


def test_twice_as_large_is_torchs() -> None:
    images = torch.from_numpy(stream(1, "images").integers(256, size=(1, H, W, 3), dtype=np.uint8))
    at = [torch.round(256 * ((torch.arange(n) + 0.5) / 2 - 0.5)).int()[None] for n in (H, W)]
    moved, _ = ScaleCrop().stored(images, torch.zeros(1), {"scale_down": at[0], "scale_across": at[1]})
    large = F.interpolate(images.permute(0, 3, 1, 2).double(), scale_factor=2, mode="bilinear")[:, :, :H, :W]
    assert (moved.permute(0, 3, 1, 2) - large).abs().max() <= 1  # rounded twice


def test_places_are_those_of_a_random_scale_and_cut() -> None:
    images = 4000
    draws = ScaleCrop().draw(stream(0, "augment"), np.array([images]), images, (H, W, 3))
    down, across = draws["scale_down"][0] / 256, draws["scale_across"][0] / 256
    factor = (H - 1) / (down[:, -1] - down[:, 0])
    mirrored = across[:, 0] > across[:, -1]
    np.testing.assert_allclose(np.abs(across[:, -1] - across[:, 0]), (W - 1) / factor, atol=0.03)
    logs = np.log2(factor)  # uniform from -1 to 1
    assert -1.02 < logs.min() < -0.98 < 0.98 < logs.max() < 1.02
    assert np.abs(logs.mean()) < 5 * np.sqrt(1 / 3 / images)
    assert abs(mirrored.mean() - 0.5) < 5 * 0.5 / np.sqrt(images)
    left = np.minimum(across[:, 0], across[:, -1])
    clear = np.abs(factor - 1) > 0.2
    for first, side in ((down[:, 0], H), (left, W)):
        share = ((first + 0.5) * factor - 0.5)[clear] / ((factor[clear] - 1) * side)  # u
        assert -0.02 < share.min() < 0.02
        assert 0.98 < share.max() < 1.02
        assert abs(share.mean() - 0.5) < 5 * np.sqrt(1 / 12 / len(share))


def test_without_scaling_an_image_is_itself_or_mirrored() -> None:
    augment, (images, masks) = ScaleCrop(scale_least=1.0, scale_most=1.0), coded(torch.uint8)
    for one, before in zip(augment.stored(images, masks, step(augment)), (images, masks), strict=True):
        same = [torch.equal(each, own) for each, own in zip(one, before, strict=True)]
        flipped = [torch.equal(each, own.flip(1)) for each, own in zip(one, before, strict=True)]
        assert all(a or b for a, b in zip(same, flipped, strict=True))
        assert any(same)
        assert any(flipped)


def test_factors_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(InputError, match=r"scale_least = 3\.0: must be at most scale_most = 2"):
        ScaleCrop(scale_least=3.0)


# colour


@pytest.mark.parametrize("channels", [3, 1])
def test_colour_jitter_is_torchvisions_and_leaves_masks(channels: int) -> None:
    spec = ImageSpec(5, (H, W, channels), (0.4,) * channels, (0.2,) * channels)
    augment = ColourJitter(jitter_brightness=0.8, jitter_after="none")
    pixels = torch.rand(B, channels, H, W, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    masks, draws = torch.zeros(B, H, W, dtype=torch.uint8), step(augment, 3)
    assert augment.stored(pixels, masks, draws) == (pixels, masks)
    changed, targets = augment.prepared((pixels - 0.4) / 0.2, masks, spec, draws)
    assert targets is masks
    for image, found, (b, c, s) in zip(pixels, changed, draws["jitter_factors"].tolist(), strict=True):
        expected = theirs.adjust_contrast(theirs.adjust_brightness(image, b), c)
        expected = theirs.adjust_saturation(expected, s) if channels == 3 else expected
        torch.testing.assert_close(
            found, (expected - 0.4) / 0.2, rtol=1e-3, atol=2e-3
        )  # its weights of grey are 0.2989


def test_colour_factors_are_uniform_around_one() -> None:
    keys: dict[str, Any] = {"jitter_brightness": 0.1, "jitter_contrast": 0.0, "jitter_saturation": 1.0}
    factors = ColourJitter(**keys).draw(stream(0, "augment"), np.array([2000]), 2000, (H, W, 3))["jitter_factors"][0]
    assert np.allclose(factors.min(axis=0), [0.9, 1.0, 0.0], atol=0.005)
    assert np.allclose(factors.max(axis=0), [1.1, 1.0, 2.0], atol=0.005)
    assert np.allclose(factors.mean(axis=0), 1, atol=5 / np.sqrt(3 * 2000))
