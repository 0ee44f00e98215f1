"""Every client's own angle, colours and noise.

Shapes: N images, H height, W width, C channels, M = H W pixels of an image.
"""

from __future__ import annotations

import numpy as np

from fedsam.config import key
from fedsam.data.skew.base import Skew, Traits
from fedsam.rng import stream

CHUNK = 1024  # images: bounds the memory of the intermediate steps


class Feature(Skew):
    """A client's images are turned by its own angle, then get its own gain and shift in each channel, then its own
    amount of noise; a strength of 0 leaves its part out.

        x ← rotate(x, a),               a ~ U(−skew_rotation, skew_rotation) degrees, counter-clockwise
        x_c ← (1 + g_c) x_c + s b_c,    g_c, b_c ~ U(−skew_colour, skew_colour) for each channel c
        x ← x + s σ e,                  σ ~ U(0, skew_noise), e ~ N(0, 1) for each pixel and channel

    with s the byte that stands for white (255; 16 for `digits`), and then rounded and clipped to 0 ... s. Rotation is
    bilinear around the middle of the image; what comes from outside is 0, as in `crop_flip`. a, g, b and σ belong to
    the client and do not change with the strengths but in proportion to them.

    Noise that differs in strength between parties: Li et al., "Federated learning on non-IID data silos" (NIID-Bench),
    2021 (arXiv 2102.02079), section IV-B, where it grows with the client's number. Clients told apart by rotation:
    Ghosh et al., "An efficient framework for clustered federated learning", NeurIPS 2020, section 6, by multiples of
    90 degrees.
    """

    requires = frozenset({"images"})

    skew_rotation: float = key(45.0, "largest angle of a client, in degrees", "convention", ge=0.0, le=180.0)
    skew_colour: float = key(
        0.0, "largest gain and shift of a channel, as shares of the pixel and of white", "off", ge=0.0, le=1.0
    )
    skew_noise: float = key(
        0.0, "largest standard deviation of a client's noise, as a share of white", "off", ge=0.0, le=1e3
    )

    def traits(self, seed: int, client: int, channels: int) -> Traits:
        """Angle in degrees, standard deviation of the noise, and gain and shift of each channel."""
        rng = stream(seed, "skew", client=client)
        angle, level = 2 * rng.random() - 1, rng.random()
        gain_C, shift_C = self.skew_colour * (2 * rng.random((2, channels)) - 1) + 0.0  # no negative zeros
        return {
            "rotation": float(self.skew_rotation * angle + 0.0),
            "noise": float(self.skew_noise * level),
            "gain": gain_C.tolist(),
            "shift": shift_C.tolist(),
        }

    def changed(self, images_NHWC: np.ndarray, traits: Traits, scale: float, rng: np.random.Generator) -> np.ndarray:
        """Turn, colour and blur with noise, in single precision, and round once."""
        found = np.empty(images_NHWC.shape, dtype=np.uint8)
        gain_C, shift_C = (np.array(traits[name], dtype=np.float32) for name in ("gain", "shift"))
        angle, sigma = traits["rotation"], traits["noise"]
        assert isinstance(angle, float)
        assert isinstance(sigma, float)
        for begin in range(0, len(images_NHWC), CHUNK):
            part = slice(begin, begin + CHUNK)
            levels = images_NHWC[part].astype(np.float32)
            if angle:
                levels = rotated(levels, angle)
            if self.skew_colour:
                levels = levels * (1 + gain_C) + np.float32(scale) * shift_C
            if sigma:
                noise = rng.standard_normal(levels.shape, dtype=np.float32)
                levels += np.float32(scale * sigma) * noise
            found[part] = np.clip(np.rint(levels), 0, scale)
        return found


def rotated(images_NHWC: np.ndarray, degrees: float) -> np.ndarray:
    """Images turned counter-clockwise around their middle, bilinearly; what comes from outside is 0.

    The pixel at offset (y, x) from the middle, y downwards, comes from (y cos a + x sin a, x cos a − y sin a).

    Args:
        images_NHWC: floating point.
        degrees: the angle a.
    """
    height, width = images_NHWC.shape[1:3]
    a = np.deg2rad(degrees)
    y_HW, x_HW = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    # to 1e-9 of a pixel, so that an angle of 90 degrees hits the pixels that it is meant to hit
    from_y_M = (y_HW * np.cos(a) + x_HW * np.sin(a) + (height - 1) / 2).ravel().round(9)
    from_x_M = (x_HW * np.cos(a) - y_HW * np.sin(a) + (width - 1) / 2).ravel().round(9)
    top_M, left_M = np.floor(from_y_M).astype(np.int64), np.floor(from_x_M).astype(np.int64)
    flat_NMC = images_NHWC.reshape(len(images_NHWC), height * width, -1)
    found_NMC = np.zeros_like(flat_NMC)
    for row_M in (top_M, top_M + 1):
        for column_M in (left_M, left_M + 1):
            weight_M = (1 - np.abs(from_y_M - row_M)) * (1 - np.abs(from_x_M - column_M))
            inside_M = (row_M >= 0) & (row_M < height) & (column_M >= 0) & (column_M < width)
            weight_M = np.where(inside_M, weight_M, 0.0).astype(images_NHWC.dtype)
            at_M = np.clip(row_M, 0, height - 1) * width + np.clip(column_M, 0, width - 1)
            found_NMC += weight_M[:, None] * flat_NMC[:, at_M]
    return found_NMC.reshape(images_NHWC.shape)
