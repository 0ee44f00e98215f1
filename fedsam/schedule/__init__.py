"""Schedules: round -> client learning rate. One schedule, one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsam.border.lazy import short

if TYPE_CHECKING:
    from fedsam.schedule.constant import Constant
    from fedsam.schedule.cosine import Cosine
    from fedsam.schedule.exponential import Exponential
    from fedsam.schedule.steps import Steps

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "Steps",
]
__getattr__ = short("fedsam.schedule")
