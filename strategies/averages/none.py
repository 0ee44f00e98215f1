"""No averaging over rounds."""

from fedsam.algorithm.strategy import Average


class NoAverage(Average):
    """The global model itself is evaluated and saved."""
