"""Keys for type checkers; written by `make format`, see `fedsam.reference.held`."""

from __future__ import annotations

from fedsam.config import Config


class ScheduleKeys(Config):
    """Those handed to a `Schedule` and a `LocalSchedule`."""

    decay: float = 0.998
    drop: float = 0.1
    drops: int = 3
    local_end: float = 0.0
    local_share: float = 0.2
    lr_min: float = 0.0
    period: float = 0.25
