"""No feature skew."""

from fedsam.data.skew.base import Skew


class NoSkew(Skew):
    """Every client's images as they are stored."""
