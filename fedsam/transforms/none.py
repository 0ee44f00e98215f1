"""No transform: updates are sent as they are, and summed without noise."""

from __future__ import annotations

from typing import ClassVar

from fedsam.transforms.base import Compression, Privacy


class Dense(Compression):
    """C(x) = x."""

    active: ClassVar[bool] = False


class Public(Privacy):
    """No clipping, no noise, and no bound."""

    active: ClassVar[bool] = False
