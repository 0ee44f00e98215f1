"""Drawn images of shapes with their masks, in eight domains of colour and texture; nothing to download.

Shapes: N images, H height, W width, S shapes of an image, L classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.images.spec import ImageSpec
from fedsam.data.partition.base import Partition
from fedsam.data.stored import Partitioned
from fedsam.rng import stream

Texture = Literal["plain", "stripes", "checks", "spots", "slope", "grain"]
Colour = tuple[float, float, float]

CLASSES = "background", "disc", "square", "triangle", "cross"
IGNORE = 255
MOST = 2  # shapes of an image
CENTRE = (0.2, 0.8)  # of a shape, in sides of the image
RADIUS = (0.2, 0.35)
TURN = np.pi / 8  # to either side
SHADE = 0.12  # how much one shape's colour differs from that of another of its class


@dataclass(frozen=True)
class Domain:
    """What the images of a domain look like, in numbers from 0 to 1.

    Args:
        ground: colour of the background.
        colours: of disc, square, triangle and cross.
        texture: of the background.
        relief: how strong it is.
        inner: the texture inside shapes.
        noise: standard deviation of each pixel's.
    """

    ground: Colour
    colours: tuple[Colour, Colour, Colour, Colour]
    texture: Texture
    relief: float
    inner: Texture
    noise: float


RED, GREEN, BLUE, YELLOW = (0.85, 0.2, 0.2), (0.2, 0.7, 0.25), (0.2, 0.35, 0.85), (0.9, 0.8, 0.2)
PURPLE, ORANGE, WHITE, BLACK = (0.6, 0.25, 0.7), (0.95, 0.55, 0.15), (0.95, 0.95, 0.95), (0.05, 0.05, 0.05)

DOMAINS: dict[str, Domain] = {
    "paper": Domain((0.9, 0.88, 0.82), (RED, GREEN, BLUE, YELLOW), "plain", 0.0, "plain", 0.04),
    "cloth": Domain((0.5, 0.55, 0.75), (YELLOW, RED, GREEN, WHITE), "stripes", 0.15, "plain", 0.05),
    "tiles": Domain((0.55, 0.5, 0.45), (BLUE, YELLOW, RED, GREEN), "checks", 0.15, "plain", 0.05),
    "meadow": Domain((0.3, 0.5, 0.25), (WHITE, BLUE, YELLOW, RED), "grain", 0.15, "spots", 0.05),
    "dusk": Domain((0.35, 0.25, 0.35), (ORANGE, PURPLE, WHITE, BLUE), "slope", 0.25, "plain", 0.06),
    "night": Domain((0.08, 0.08, 0.15), (GREEN, ORANGE, PURPLE, RED), "spots", 0.12, "stripes", 0.06),
    "snow": Domain((0.85, 0.87, 0.92), (BLACK, RED, PURPLE, ORANGE), "spots", 0.1, "grain", 0.08),
    "slate": Domain((0.3, 0.32, 0.35), (PURPLE, WHITE, ORANGE, BLACK), "grain", 0.15, "checks", 0.08),
}
"""By name. What a colour means differs from domain to domain, what a form means does not."""

FORMS: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (
    lambda u, v: u**2 + v**2 <= 1,
    lambda u, v: np.maximum(abs(u), abs(v)) <= 0.85,
    lambda u, v: (v >= -0.5) & (np.sqrt(3) * abs(u) + v <= 1),
    lambda u, v: (np.minimum(abs(u), abs(v)) <= 0.3) & (np.maximum(abs(u), abs(v)) <= 0.95),
)
"""Whether a point lies in a disc, a square, a triangle, a cross of radius 1 around the origin."""


class Shapes(Partitioned):
    """Discs, squares, triangles and crosses, one or two of them on a background, with a mask that says for each
    pixel which of these five it shows. Where two meet, a pixel on the line has no label, as in PASCAL VOC.

    Eight domains (`Split.groups`) that differ in colours, textures and noise. Within one, a shape has the colour of its
    class as often as `hint` says, and otherwise any of the domain's four; in another domain that colour belongs to
    another class. So a network that learns colours fails on a domain that it has not seen, and one that learns forms
    does not. Images and masks do not depend on the run's seed.
    """

    task = "segmentation"

    offers = frozenset({"images", "groups"})

    clients: int = key(24, "number of clients", "three to a domain", ge=1, le=10**7)
    partition: Partition = key(
        "within_groups", "how the training examples are divided among the clients", "as in FedDrive"
    )
    size: int = key(32, "height and width of an image", "convention", ge=8, le=512)
    hint: float = key(
        0.5, "how often a shape has the colour that tells its class within its domain", "convention", ge=0.0, le=1.0
    )
    domain_samples: int = key(100, "training images of each domain", "convention", ge=1, le=10**5)
    domain_test_samples: int = key(40, "test images of each domain", "convention", ge=1, le=10**5)

    def read(self) -> tuple[ImageSpec, Split, Split]:
        """Draw them."""
        return _read(self.size, self.hint, self.domain_samples, self.domain_test_samples)


@lru_cache(maxsize=4)
def _read(size: int, hint: float, samples: int, tests: int) -> tuple[ImageSpec, Split, Split]:
    train, test = _split("train", samples, size, hint), _split("test", tests, size, hint)
    mean, std = (tuple(each.tolist()) for each in _moments(train.inputs))
    spec = ImageSpec(
        len(CLASSES),
        (size, size, 3),
        mean,
        std,
        target_shape=(size, size),
        names=CLASSES,
        groups=tuple(DOMAINS),
        ignore=IGNORE,
    )
    return spec, train, test


def _split(which: str, samples: int, size: int, hint: float) -> Split:
    """So many images of each domain, one domain after the other."""
    drawn = [_drawn(domain, samples, size, hint, stream(0, f"shapes {which}", client=d)) for d, domain in _numbered()]
    images, masks = (np.concatenate(each) for each in zip(*drawn, strict=True))
    return Split(images, masks, np.repeat(np.arange(len(DOMAINS)), samples)).read_only()


def _numbered() -> list[tuple[int, Domain]]:
    return list(enumerate(DOMAINS.values()))


def _moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each channel, of pixels / 255, from the counts of bytes."""
    levels = np.arange(256) / 255
    share_CV = (
        np.stack([np.bincount(images[..., c].reshape(-1), minlength=256) for c in range(3)]) / images[..., 0].size
    )
    mean_C = share_CV @ levels
    return mean_C, np.sqrt(share_CV @ levels**2 - mean_C**2)


def _drawn(
    domain: Domain, samples: int, size: int, hint: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, H, W, 3] and masks uint8 [N, H, W] of a domain."""
    forms_NS, number_N = rng.integers(len(FORMS), size=(samples, MOST)), rng.integers(1, MOST + 1, size=samples)
    centre_NS2 = size * rng.uniform(*CENTRE, size=(samples, MOST, 2))
    radius_NS, turn_NS = size * rng.uniform(*RADIUS, size=(samples, MOST)), rng.uniform(-TURN, TURN, (samples, MOST))
    told_NS, other_NS = rng.random((samples, MOST)) < hint, rng.integers(len(FORMS), size=(samples, MOST))
    colour_NS3 = np.asarray(domain.colours)[np.where(told_NS, forms_NS, other_NS)]
    colour_NS3 += rng.uniform(-SHADE, SHADE, size=(samples, MOST, 1))
    mask_NHW = np.zeros((samples, size, size), np.uint8)
    paint_NHWC = np.zeros((samples, size, size, 3)) + np.asarray(domain.ground)
    paint_NHWC += domain.relief * _texture(domain.texture, samples, size, rng)[..., None]
    inner_NHW1 = SHADE * _texture(domain.inner, samples, size, rng)[..., None]
    y_HW, x_HW = np.mgrid[:size, :size] + 0.5
    for s in range(MOST):
        down, across = (z_HW - centre_NS2[:, s, axis, None, None] for axis, z_HW in enumerate((y_HW, x_HW)))
        cos, sin = (f(turn_NS[:, s])[:, None, None] / radius_NS[:, s, None, None] for f in (np.cos, np.sin))
        u, v = cos * across - sin * down, sin * across + cos * down
        for form, inside in enumerate(FORMS):
            its_N = (forms_NS[:, s] == form) & (s < number_N)
            place = inside(u, v) & its_N[:, None, None]
            mask_NHW[place] = form + 1
            flat = colour_NS3[:, s, None, None] + inner_NHW1
            paint_NHWC[place] = np.broadcast_to(flat, paint_NHWC.shape)[place]
    paint_NHWC += domain.noise * rng.standard_normal(paint_NHWC.shape)
    line = np.zeros(mask_NHW.shape, bool)
    line[:, :-1] |= mask_NHW[:, :-1] != mask_NHW[:, 1:]
    line[:, :, :-1] |= mask_NHW[:, :, :-1] != mask_NHW[:, :, 1:]
    return np.rint(255 * paint_NHWC.clip(0, 1)).astype(np.uint8), np.where(line, np.uint8(IGNORE), mask_NHW)


def _texture(kind: Texture, samples: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """A pattern for each image, from -1 to 1, float64 [N, H, W]; directions, phases and places are random."""
    y_HW, x_HW = (np.mgrid[:size, :size] + 0.5) / size
    turn, phase, other = rng.uniform(0, 2 * np.pi, size=(3, samples, 1, 1))
    along, across = np.cos(turn) * x_HW + np.sin(turn) * y_HW, np.cos(turn) * y_HW - np.sin(turn) * x_HW
    waves = 2 * np.pi * 5
    one, two = np.sin(waves * along + phase), np.sin(waves * across + other)
    coarse = rng.uniform(-1, 1, size=(samples, -(-size // 2), -(-size // 2)))
    patterns: dict[Texture, np.ndarray] = {
        "plain": np.zeros((samples, size, size)),
        "slope": np.clip(2 * (along - along.mean(axis=(1, 2), keepdims=True)), -1, 1),
        "stripes": np.sign(one),
        "checks": np.sign(one * two),
        "spots": np.where(one * two > 0.6, 1.0, -0.2),
        "grain": coarse.repeat(2, axis=1).repeat(2, axis=2)[:, :size, :size],
    }
    return patterns[kind]
