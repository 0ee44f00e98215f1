"""Who carries out the trials of a search, and then trains the best settings anew."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from fedsam.run import Run
from fedsam.sweeps.sweep import Failed
from fedsam.tuning.ledger import Ledger, Trial


class Workers(AbstractContextManager["Workers"], ABC):
    """Inside it they are ready."""

    at_once: int
    """How many runs go on at once."""

    @abstractmethod
    def drive(self, ledger: Ledger, run_of: Callable[[Trial], Run], said: Iterable[Any]) -> None:
        """Carry out the trials of a ledger.

        Args:
            ledger: hands them out.
            run_of: a trial's description, with its directory.
            said: the values of keys, among which may be names of objects that other processes cannot import.

        Raises:
            InputError, RunError: something went wrong with a trial other than that it diverged, or with the workers.
            Interrupted: it was stopped; checkpoints stay.
        """

    @abstractmethod
    def train(self, runs: Sequence[Run], ended: Callable[[int, list[Failed]], None]) -> None:
        """Carry out runs, each with its `out`.

        Args:
            ended: told the place of each run as it ends, and what went wrong if anything did.

        Raises:
            InputError, RunError: something went wrong with the workers.
            Interrupted: it was stopped; checkpoints stay.
        """
