"""Corruptions of test images, from their definitions."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Callable

import numpy as np
import pytest

from fedsam.data.images.corruptions import CORRUPTIONS, SEVERITIES, blur, brightness, contrast, jpeg, noise, pixelate
from fedsam.rng import stream

Change = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def images(channels: int = 3, side: int = 16, count: int = 4) -> np.ndarray:
    """Smooth pictures with some black and white."""
    rng = stream(7, "test images")
    waves = rng.random((count, 1, 1, channels)) * 3 + np.arange(side)[None, :, None, None] * 0.4
    waves = waves + np.arange(side)[None, None, :, None] * rng.random((count, 1, 1, channels))
    found: np.ndarray = np.clip(0.5 + 0.7 * np.sin(waves), 0, 1)
    found[0, 0, 0] = 0.0
    return found


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 32])
@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_what_comes_out_is_images_and_worse_with_severity(name: str, side: int, channels: int) -> None:
    clean = images(channels, side)
    kept = clean.copy()
    worse = [CORRUPTIONS[name](clean, severity, stream(0, "c")) for severity in SEVERITIES]
    np.testing.assert_array_equal(clean, kept)
    for found in worse:
        assert found.shape == clean.shape
        assert found.min() >= 0.0
        assert found.max() <= 1.0
    away = [float(np.abs(found - clean).mean()) for found in worse]
    assert 0.0 < away[0] < away[-1]
    assert len(SEVERITIES) == 5
    if name not in ("jpeg", "pixelate"):  # the sizes of blocks and pixels need not be in order on so small an image
        assert away == sorted(away)


@pytest.mark.parametrize(("severity", "sigma"), [(1, 0.04), (5, 0.10)])
def test_noise_has_its_deviation(severity: int, sigma: float) -> None:
    grey = np.full((50, 32, 32, 3), 0.5)
    added = noise(grey, severity, stream(1, "c")) - grey
    assert added.std() == pytest.approx(sigma, rel=0.02)
    assert abs(added.mean()) < 0.001


def test_blur_is_the_sum_with_a_gaussian() -> None:
    clean, sigma = images(side=9, count=1), 0.7
    reach = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    expected = np.zeros_like(clean)
    for y in range(9):
        for x in range(9):
            for i, a in enumerate(weights):
                for j, b in enumerate(weights):
                    row, column = np.clip(y + i - reach, 0, 8), np.clip(x + j - reach, 0, 8)
                    expected[:, y, x] += a * b * clean[:, row, column]
    np.testing.assert_allclose(blur(clean, 3, stream(0, "c")), expected, atol=1e-12)


def test_contrast_draws_towards_each_channels_mean() -> None:
    clean = images()
    found = contrast(clean, 5, stream(0, "c"))
    for image, before in zip(found, clean, strict=True):
        for c in range(3):
            mean = before[:, :, c].mean()
            np.testing.assert_allclose(image[:, :, c], mean + 0.15 * (before[:, :, c] - mean), atol=1e-12)


def test_brightness_raises_the_value_of_a_colour() -> None:
    clean = images()
    found = brightness(clean, 4, stream(0, "c"))
    for pixel, before in zip(found.reshape(-1, 3), clean.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before)
        np.testing.assert_allclose(pixel, colorsys.hsv_to_rgb(hue, saturation, min(value + 0.2, 1)), atol=1e-9)
    grey = images(channels=1)
    np.testing.assert_allclose(brightness(grey, 4, stream(0, "c")), np.minimum(grey + 0.2, 1), atol=1e-12)


@pytest.mark.parametrize(("severity", "side", "small"), [(4, 8, 6), (5, 8, 5), (4, 20, 15)])
def test_pixelate_takes_means_and_repeats_them(severity: int, side: int, small: int) -> None:
    clean = np.rint(images(channels=1, side=side, count=1) * 255) / 255
    covered = [[p for p in range(side) if n * side <= (p + 0.5) * small < (n + 1) * side] for n in range(small)]
    assert sorted(pixel for pixels in covered for pixel in pixels) == list(range(side))
    means = np.array([[clean[0][np.ix_(rows, columns)].mean() for columns in covered] for rows in covered])
    nearest = [int((p + 0.5) * small / side) for p in range(side)]
    found = pixelate(clean, severity, stream(0, "c"))[0, :, :, 0]
    np.testing.assert_allclose(found, means[np.ix_(nearest, nearest)], atol=1.1 / 255)


@pytest.mark.parametrize(("severity", "quality"), [(1, 80), (5, 40)])
def test_jpeg_quantises_the_cosine_transform(severity: int, quality: int) -> None:
    clean = np.rint(images(channels=1, side=8, count=1) * 255)
    n = np.arange(8)
    cosines = np.sqrt(2 / 8) * np.cos((2 * n[None] + 1) * n[:, None] * np.pi / 16)
    cosines[0] /= np.sqrt(2)
    coefficients = cosines @ (clean[0, :, :, 0] - 128) @ cosines.T
    table = luminance(quality)
    expected = cosines.T @ (np.rint(coefficients / table) * table) @ cosines + 128
    found = 255 * jpeg(clean / 255, severity, stream(0, "c"))[0, :, :, 0]
    np.testing.assert_allclose(found, np.clip(expected, 0, 255), atol=1.6)


def luminance(quality: int) -> np.ndarray:
    """The quantisation table of a file of this quality, in rows of frequency."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG", quality=quality)
    with Image.open(file) as opened:
        return np.array(opened.quantization[0]).reshape(8, 8)  # type: ignore[attr-defined]
