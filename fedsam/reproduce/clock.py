"""How long a reproduction takes by the clock on the wall, added up over all times it was started."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from fedsam.storage.files import on_disk, replace_file

FILE = "wall.json"
"""In the directory of results."""


@dataclass(frozen=True)
class Wall:
    """What was counted in a directory.

    Args:
        seconds: of training, measuring and drawing, with all workers at once; the time between two starts is not in it,
            nor that of a start that was killed and could not write.
        starts: how many times it was started; those that found everything done count too.
    """

    seconds: float = 0.0
    starts: int = 0


def wall(out: Path) -> Wall:
    """What was counted so far; nothing where no file can be read."""
    try:
        found = json.loads((out / FILE).read_text(encoding="utf-8"))
        return Wall(float(found["seconds"]), int(found["starts"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Wall()


@contextmanager
def timed(out: Path, starts: int = 0) -> Iterator[None]:
    """Count the time inside, also if it ends with an error; `starts` counts as so many starts."""
    begun = time.monotonic()
    try:
        yield
    finally:
        before = wall(out)
        now = Wall(before.seconds + time.monotonic() - begun, before.starts + starts)
        with on_disk(out / FILE):
            out.mkdir(parents=True, exist_ok=True)
            replace_file(out / FILE, (json.dumps(asdict(now)) + "\n").encode())
