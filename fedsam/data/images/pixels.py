"""What a model is shown of a pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from fedsam.data.base import Facts

Pixels = Literal["standard", "symmetric", "unit"]

SHIFT_AND_SCALE: dict[Pixels, tuple[float, float]] = {"symmetric": (0.5, 0.5), "unit": (0.0, 1.0)}


def with_normalisation(facts: Facts, pixels: Pixels) -> Facts:
    """The facts of a data set whose pixels p, from 0 to 1, enter a model in one of three ways:

    - `standard`: (p − mean) / std of each channel, as the data set has it;
    - `symmetric`: (p − 1/2) / (1/2), from −1 to 1;
    - `unit`: p, from 0 to 1.

    Coldenhoff, Li and Zhu 2022 train on the second and the third.
    """
    if pixels == "standard":
        return facts
    mean, std = SHIFT_AND_SCALE[pixels]
    channels = facts.shape[2]
    return replace(facts, mean=(mean,) * channels, std=(std,) * channels)
