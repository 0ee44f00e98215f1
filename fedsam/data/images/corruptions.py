"""Images as they come from a bad camera or a bad file: six corruptions, each at five severities.

Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019,
with the parameters of its authors' code for CIFAR-10 (`make_cifar_c.py`). Theirs are for images of 32 x 32 and taken as
they are for other sizes.

Shapes: N images, H height, W width, C channels (1 or 3). Values are from 0 to 1.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

SEVERITIES = (1, 2, 3, 4, 5)

Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
"""(images [N, H, W, C], severity, stream of random numbers) -> images of the same shape."""


def noise(images_NHWC: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """x + σ e, with e standard normal."""
    sigma = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    return _cut(images_NHWC + sigma * rng.standard_normal(images_NHWC.shape))


def blur(images_NHWC: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian of standard deviation σ pixels, cut off at 4 σ; beyond the border the outermost pixels go on."""
    from scipy.ndimage import gaussian_filter

    sigma = (0.4, 0.6, 0.7, 0.8, 1.0)[severity - 1]
    return _cut(gaussian_filter(images_NHWC, (0, sigma, sigma, 0), mode="nearest", truncate=4.0))


def contrast(images_NHWC: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """m + c (x − m), with m the mean of each channel of each image."""
    share = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    mean_N11C = images_NHWC.mean(axis=(1, 2), keepdims=True)
    return _cut(mean_N11C + share * (images_NHWC - mean_N11C))


def brightness(images_NHWC: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """v ← min(v + c, 1), where v, the value of a pixel in HSV, is its largest channel; hue and saturation stay, so the
    pixel is multiplied by what v is, and black becomes grey.
    """
    more = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]
    value_NHW1 = images_NHWC.max(axis=3, keepdims=True)
    brighter_NHW1 = np.minimum(value_NHW1 + more, 1.0)
    black_NHW1 = value_NHW1 == 0
    scaled = images_NHWC * (brighter_NHW1 / np.where(black_NHW1, 1.0, value_NHW1))
    return _cut(np.where(black_NHW1, brighter_NHW1, scaled))


def pixelate(images_NHWC: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """To ⌊c H⌋ x ⌊c W⌋ pixels, each the mean of those whose centres it covers, and back by the nearest one."""
    from PIL import Image

    share = (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1]
    height, width = images_NHWC.shape[1:3]
    small = max(1, int(width * share)), max(1, int(height * share))

    def one(image: Image.Image) -> Image.Image:
        return image.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX)

    return _each(images_NHWC, one)


def jpeg(images_NHWC: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Through a JPEG file, by Pillow, of quality 80 down to 40."""
    from PIL import Image

    quality = (80, 65, 58, 50, 40)[severity - 1]

    def one(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return _each(images_NHWC, one)


def _cut(images_NHWC: np.ndarray) -> np.ndarray:
    """What is below 0 or above 1 is brought back."""
    cut: np.ndarray = np.clip(images_NHWC, 0.0, 1.0)
    return cut


def _each(images_NHWC: np.ndarray, change: Callable[..., object]) -> np.ndarray:
    """Each image as bytes through a function of Pillow's images."""
    from PIL import Image

    grey = images_NHWC.shape[3] == 1
    bytes_NHWC = np.rint(255 * images_NHWC).astype(np.uint8)
    changed = [np.asarray(change(Image.fromarray(image[:, :, 0] if grey else image))) for image in bytes_NHWC]
    return np.stack(changed).reshape(images_NHWC.shape) / 255


CORRUPTIONS: dict[str, Corruption] = {
    function.__name__: function for function in (noise, blur, contrast, brightness, pixelate, jpeg)
}
