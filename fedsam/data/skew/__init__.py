"""Feature skew: what sets one client's images apart from another's. One skew, one module."""
