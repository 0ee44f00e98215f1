"""No tracker."""

from __future__ import annotations

from typing import ClassVar

from fedsam.runs.trackers.base import Begun, Tracker, Tracking


class NoTracker(Tracker):
    """Nobody is told."""

    active: ClassVar[bool] = False

    def started(self, begun: Begun) -> Tracking:
        """Never asked for."""
        raise NotImplementedError
