"""Clients of a round in the processor's threads, each with a share of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

J = TypeVar("J")
R = TypeVar("R")


class Threads:
    """Work on several things at once: kernels of small batches are too short to be shared out among threads, and a
    client per thread wastes none of their time waiting for each other.

    With `count` threads, as many things as can be dealt out evenly are worked on with one thread each, whoever is free
    taking the next. The rest, fewer than `count`, come last, at once, with as many threads each as there are for them.
    What a thing is worked on with depends on its place alone, and results come in the order of the things.

    Args:
        count: of threads; 1 works in the caller's.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, "fedsam client") if count > 1 else None

    def each(self, work: Callable[[J], R], things: Sequence[J]) -> Iterator[R]:
        """What `work` makes of each thing. While results are awaited, the caller's own kernels have one thread.

        Raises:
            Exception: whatever `work` raises, in the thing's turn.
        """
        even = len(things) - len(things) % self.count
        yield from self._dealt(work, things[:even], self.count)
        yield from self._dealt(work, things[even:], len(things) - even)

    def _dealt(self, work: Callable[[J], R], things: Sequence[J], at_once: int) -> Iterator[R]:
        if self._pool is None or at_once < 2:
            yield from map(work, things)
            return
        share, waiting = self.count // at_once, deque(things)
        going: deque[Future[R]] = deque()
        torch.set_num_threads(1)
        try:
            while waiting or going:
                while waiting and len(going) < 2 * at_once:  # more would only hold memory
                    going.append(self._pool.submit(_with_threads, share, work, waiting.popleft()))
                yield going.popleft().result()
        finally:
            for future in going:
                future.cancel()
            torch.set_num_threads(self.count)

    def close(self) -> None:
        """End the threads; what is being worked on is finished first."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _with_threads(count: int, work: Callable[[J], R], thing: J) -> R:
    if torch.get_num_threads() != count:  # each thread has a number of its own
        torch.set_num_threads(count)
    return work(thing)
