"""What a model is shown of a pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from fedsam.data.images.spec import ImageSpec
from fedsam.data.spec import Spec

Pixels = Literal["standard", "symmetric", "unit"]

SHIFT_AND_SCALE: dict[Pixels, tuple[float, float]] = {"symmetric": (0.5, 0.5), "unit": (0.0, 1.0)}


def with_normalisation(spec: Spec, pixels: Pixels) -> Spec:
    """The spec of a data set whose pixels p, from 0 to 1, enter a model in one of three ways:

    - `standard`: (p − mean) / std of each channel, as the data set has it;
    - `symmetric`: (p − 1/2) / (1/2), from −1 to 1;
    - `unit`: p, from 0 to 1.

    Coldenhoff, Li and Zhu 2022 train on the second and the third.
    """
    if pixels == "standard" or not isinstance(spec, ImageSpec):
        return spec
    mean, std = SHIFT_AND_SCALE[pixels]
    channels = spec.shape[2]
    return replace(spec, mean=(mean,) * channels, std=(std,) * channels)
