"""Keys for type checkers; written by `make format`, see `fedsam.reference.held`."""

from __future__ import annotations

from fedsam.config import Config


class DivisionKeys(Config):
    """Those handed to a `Partition` and a `Skew`."""

    alpha: float = 0.5
    min_size: int = 1
    shards_per_client: int = 2
    sigma: float = 0.0
    skew_colour: float = 0.0
    skew_noise: float = 0.0
    skew_rotation: float = 45.0
    split_file: str = ""


class SkewKeys(Config):
    """Those handed to a `Skew`."""

    skew_colour: float = 0.0
    skew_noise: float = 0.0
    skew_rotation: float = 45.0
