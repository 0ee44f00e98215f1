"""The campaign of bad inputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fedsam.torture.base import Scale, Trial
from fedsam.torture.inputs import inputs, survey


def campaign(folder: Path, scale: Scale) -> Iterator[Trial]:
    """Bad inputs, spread evenly over all that are generated; each must be refused in one line."""
    found = inputs()
    for verdict in survey(found[:: max(1, len(found) // scale.inputs)], folder):
        yield Trial(verdict.input.label, "; ".join(verdict.faults) or None)
