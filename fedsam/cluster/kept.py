"""A Ray cluster and its workers that outlive the runs of one job, so that the next run need not wait for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any


class Kept:
    """What runs leave to those that follow."""

    def __init__(self) -> None:
        self._undo: ExitStack | None = None
        self._workers: dict[tuple[Any, ...], list[Any]] = {}
        self.address: str | None = None
        """Of the cluster that was joined; None = it was started here."""

    @property
    def holds(self) -> bool:
        """Whether there is a cluster."""
        return self._undo is not None

    def take_over(self, undo: ExitStack, address: str | None) -> None:
        """Leave a cluster here, with what ends it."""
        self._undo, self.address = undo.pop_all(), address

    def keep(self, kind: tuple[Any, ...], workers: list[Any]) -> None:
        """Leave idle workers of the cluster here.

        Args:
            kind: what they have of the cluster.
        """
        self._workers.setdefault(kind, []).extend(workers)

    def workers(self, kind: tuple[Any, ...], number: int) -> list[Any]:
        """Workers of a kind, at most so many; all others are ended, for they have cores that are needed."""
        import ray

        found = self._workers.pop(kind, [])
        for worker in [*found[number:], *(each for others in self._workers.values() for each in others)]:
            ray.kill(worker)
        self._workers = {}
        return found[:number]

    def leave(self) -> None:
        """End what is kept."""
        self._workers = {}
        undo, self._undo = self._undo, None
        if undo is not None:
            undo.close()


_NOW: ContextVar[Kept | None] = ContextVar("kept", default=None)


def now() -> Kept | None:
    """Of the job under way in this thread."""
    return _NOW.get()


@contextmanager
def keeping() -> Iterator[None]:
    """Have the runs inside use one cluster after the other; it ends with the outermost of such blocks."""
    if now() is not None:
        yield
        return
    kept = Kept()
    token = _NOW.set(kept)
    try:
        yield
    finally:
        _NOW.reset(token)
        kept.leave()
