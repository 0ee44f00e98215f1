"""Waiting for what takes long on a busy machine: as long as it may still come, and not in silence."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedsam.cluster import keeper

log = logging.getLogger("fedsam")

LIMIT = 600.0  # seconds after which what has not come is given up
EVERY = 15.0  # seconds between two notes
PAUSE = 0.2  # seconds between two looks


class Patience:
    """A wait that says every quarter of a minute that it goes on.

    Args:
        what: is waited for, as the end of "waiting for ...".
        limit: seconds.
    """

    def __init__(self, what: str, limit: float = LIMIT) -> None:
        self.what, self.limit = what, limit
        self.began = self.told = time.monotonic()

    def over(self, seen: Callable[[], str] = str) -> bool:
        """Whether the time is up; a note if one is due.

        Args:
            seen: says what there is to be seen meanwhile; asked for a note alone.
        """
        now = time.monotonic()
        if now - self.told >= EVERY:
            self.told, more = now, seen()
            log.warning(
                "waiting for %s for %.0f s%s; given up after %.0f s",
                self.what,
                now - self.began,
                f" ({more})" if more else "",
                self.limit,
            )
        return now - self.began > self.limit


@contextmanager
def starting(folder: Path, limit: float) -> Iterator[None]:
    """While Ray starts here: its own waits go on until a process that is waited for has died, and are shown."""
    from ray._private import node, services

    patience, done = Patience("Ray to start", limit), threading.Event()

    def show() -> None:
        while not done.wait(EVERY):
            patience.over()

    def patient(wait: Callable[..., Any], process: str) -> Callable[..., Any]:
        def waiting(*arguments: Any, **settings: Any) -> Any:
            while True:
                try:
                    return wait(*arguments, **settings)
                except Exception:
                    late = time.monotonic() - patience.began > limit
                    if late or not keeper.runs(folder, process):
                        raise
                time.sleep(PAUSE)

        return waiting

    waits = [(node, "wait_for_persisted_port", "gcs_server"), (services, "get_node", "raylet")]
    theirs = [(module, name, getattr(module, name)) for module, name, _ in waits if hasattr(module, name)]
    shown = threading.Thread(target=show, name="ray starts", daemon=True)
    try:
        for module, name, process in waits:  # of 30 s each, which is a literal in Ray
            if hasattr(module, name):
                setattr(module, name, patient(getattr(module, name), process))
        shown.start()
        yield
    finally:
        done.set()
        shown.join()
        for module, name, wait in theirs:
            setattr(module, name, wait)
