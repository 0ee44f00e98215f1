"""Keys for type checkers; written by `make format`, see `fedsam.reference.held`."""

from __future__ import annotations

from fedsam.config import Config


class AttackKeys(Config):
    """Those handed to a `Attack`."""

    epsilon: float = 0.01568627450980392
    norm: str = "linf"
    step_size: float = 0.00784313725490196
    steps: int = 10
