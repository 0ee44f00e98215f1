"""What a tracker is: told when a run starts, of each of its records, and when it ends."""

from __future__ import annotations

import importlib.util
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from fedsam.config import Component, find, key, resolve
from fedsam.errors import InputError
from fedsam.storage.files import replace_file

Ending = Literal["finished", "stopped", "failed"]
IDS = "trackers.json"
"""In a run directory: what trackers call its run, by which they go on where it is resumed."""


@dataclass(frozen=True)
class Begun:
    """A run that begins, or goes on.

    Args:
        name: of the run.
        group: of the runs it belongs to: the folder that its directory is in.
        keys: every key that describes it, as plain JSON types.
        about: what it runs on, as plain JSON types.
        folder: its run directory, or the folder in which it would be.
        kept: whether that exists.
        done: how many rounds are done already.
    """

    name: str
    group: str
    keys: Mapping[str, Any]
    about: Mapping[str, Any]
    folder: Path
    kept: bool
    done: int = 0

    def id_of(self, tracker: str) -> str | None:
        """What a tracker called this run when it began."""
        return self._ids().get(tracker) if self.done else None

    def keep_id(self, tracker: str, found: str) -> None:
        """Remember what a tracker calls this run."""
        if self.kept:
            replace_file(self.folder / IDS, json.dumps({**self._ids(), tracker: found}).encode())

    def _ids(self) -> dict[str, str]:
        file = self.folder / IDS
        if not self.kept or not file.exists():
            return {}
        return dict(json.loads(file.read_text(encoding="utf-8")))


class Tracking(ABC):
    """A tracker at work on one run."""

    @abstractmethod
    def recorded(self, round: int, numbers: Mapping[str, float]) -> None:
        """A round was recorded; its numbers by name, those of groups with a slash (`local/mean`)."""

    @abstractmethod
    def finished(self, ending: Ending, files: Sequence[Path]) -> None:
        """The run has ended.

        Args:
            files: what there is of it: figures, report, model.
        """


class Tracker(Component):
    """A tracker. Nothing leaves the machine unless `online` says so."""

    kind: ClassVar[str] = "tracker"
    package: ClassVar[str] = "fedsam.runs.trackers"
    active: ClassVar[bool] = True
    library: ClassVar[str] = ""
    """The module that it needs, if any, of the extra `trackers`."""

    project: str = key("fedsam", "what runs are gathered under: MLflow's experiment, W&B's project", "convention")
    online: bool = key(
        False,
        "send to a server: W&B's, or the one that MLFLOW_TRACKING_URI names; else nothing leaves the machine",
        "off",
    )
    folder: str | None = key(
        None,
        "where trackers put their files; none = in the run directory, for MLflow mlruns beside it",
        "convention",
        path=True,
    )

    def check(self) -> None:
        """Refuse to start without what it needs.

        Raises:
            InputError: its package is not installed.
        """
        if self.library and importlib.util.find_spec(self.library) is None:
            told = f"needs the package {self.library}; pip install 'fedsam[trackers]'"
            raise InputError("name", self.name, told)

    @abstractmethod
    def started(self, begun: Begun) -> Tracking:
        """Begin, or go on."""

    def place(self, begun: Begun, name: str, beside: bool = False) -> Path:
        """The folder of this name for its files.

        Args:
            beside: whether that of several runs, beside their directories.
        """
        if self.folder is not None:
            return Path(self.folder) / name / ("" if beside else f"{begun.group}/{begun.name}")
        return (begun.folder.parent if beside else begun.folder) / name

    @classmethod
    def several(cls, names: Sequence[str]) -> type[Tracker]:
        """The class that stands for several trackers, with the same keys."""
        return _several(tuple(find(Tracker, name) for name in dict.fromkeys(names)))


class _Several(Tracker):
    """Trackers side by side; keys that only one of them has keep their defaults."""

    parts: ClassVar[tuple[type[Tracker], ...]] = ()

    @property
    def name(self) -> str:
        """Their names, with commas between them."""
        return ",".join(part.name for part in self.each())

    def each(self) -> list[Tracker]:
        """The trackers."""
        given = {field: getattr(self, field) for field in Tracker.model_fields}
        return [part(**given) for part in self.parts]

    def check(self) -> None:
        """Each of them."""
        for part in self.each():
            part.check()

    def started(self, begun: Begun) -> Tracking:
        """They are started one by one, by who asks `each`."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {field: getattr(self, field) for field in Tracker.model_fields}
        return resolve, (Tracker, {"name": self.name, **fields})


@lru_cache(maxsize=32)
def _several(parts: tuple[type[Tracker], ...]) -> type[Tracker]:
    found = type("_Several", (_Several,), {"__module__": __name__, "parts": parts})
    assert issubclass(found, Tracker)
    return found


def each_of(tracker: Tracker) -> list[Tracker]:
    """The trackers of a run, one by one; none where it has none."""
    found = tracker.each() if isinstance(tracker, _Several) else [tracker]
    return [each for each in found if each.active]
