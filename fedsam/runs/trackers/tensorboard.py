"""TensorBoard: event files, which `tensorboard --logdir` shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from fedsam.runs.trackers.base import Begun, Ending, Tracker, Tracking


class TensorBoard(Tracker):
    """Numbers as scalars by round, the run's keys as text; event files in the run directory's `tensorboard`."""

    library: ClassVar[str] = "tensorboard"

    def started(self, begun: Begun) -> Tracking:
        """Open an event file; where a run goes on, what came after its checkpoint is taken back."""
        return _Events(self.place(begun, "tensorboard"), begun)


class _Events(Tracking):
    def __init__(self, folder: Path, begun: Begun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        make: Any = SummaryWriter
        self.writer = make(str(folder), purge_step=begun.done + 1 if begun.done else None)
        if not begun.done:
            for name, found in (("keys", begun.keys), ("about", begun.about)):
                text = json.dumps(dict(found), indent=2, default=str)
                self.writer.add_text(name, "\n".join(f"    {line}" for line in text.splitlines()), 0)
        self.writer.flush()

    def recorded(self, round: int, numbers: Mapping[str, float]) -> None:
        """One scalar a number."""
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, round)
        self.writer.flush()

    def finished(self, ending: Ending, files: Sequence[Path]) -> None:
        """Figures are shown; close the file."""
        for file in files:
            if file.suffix == ".png":
                from matplotlib.image import imread

                self.writer.add_image(file.stem, imread(file)[..., :3], 0, dataformats="HWC")
        self.writer.close()
