"""No system heterogeneity."""

from __future__ import annotations

from fedsam.system.base import System


class Ideal(System):
    """Every client is always there, does all its steps, and delivers."""
