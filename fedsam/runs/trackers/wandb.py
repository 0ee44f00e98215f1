"""Weights & Biases: a run in files, which `wandb sync` sends later, or online."""

from __future__ import annotations

import importlib
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from fedsam.runs.trackers.base import Begun, Ending, Tracker, Tracking


class WandB(Tracker):
    """Numbers as history by round, the run's keys as its config, its files beside it. Offline, in the run directory's
    `wandb`, unless `track.online` is true.
    """

    library: ClassVar[str] = "wandb"

    def started(self, begun: Begun) -> Tracking:
        """Begin a run of the project, or go on with it."""
        return _Run(self, begun)


class _Run(Tracking):
    def __init__(self, tracker: WandB, begun: Begun) -> None:
        if not tracker.online:
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        wandb: Any = importlib.import_module("wandb")
        folder = tracker.place(begun, "wandb").parent  # in which it makes the folder of this name
        folder.mkdir(parents=True, exist_ok=True)
        known = begun.id_of("wandb") or uuid.uuid4().hex[:8]
        settings = wandb.Settings(silent=True, console="off", disable_git=True, save_code=False)
        self.run = wandb.init(
            project=tracker.project,
            group=begun.group,
            name=begun.name,
            id=known,
            resume="allow" if begun.done else None,
            config={**begun.keys, "about": dict(begun.about)},
            dir=str(folder),
            mode="online" if tracker.online else "offline",
            reinit="create_new",
            settings=settings,
        )
        begun.keep_id("wandb", known)

    def recorded(self, round: int, numbers: Mapping[str, float]) -> None:
        """One row of the history."""
        self.run.log(dict(numbers), step=round)

    def finished(self, ending: Ending, files: Sequence[Path]) -> None:
        """Keep the files, and say how it ended."""
        for file in files:
            own = shutil.copy(file, self.run.dir)  # of a file elsewhere it would make a link, and say so
            self.run.save(str(own), base_path=self.run.dir, policy="now")
        self.run.finish(exit_code=0 if ending == "finished" else 1)
