"""What clients keep from round to round: some vectors each, for those clients alone that were ever sampled.

Shapes: K clients asked for, M clients that have vectors, P parameters.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import State
from fedsam.storage.files import on_disk
from fedsam.storage.tensors import Rows


class ClientStates:
    """Vectors of clients, on the host; beyond a limit of memory in a file that ends with this process.

    The file is read and written, not mapped: what a process has looked at of a mapped file counts as its memory, and
    where the disk is full it dies without a word.

    Args:
        sizes: of the vectors, by name; P for most.
        dtype: of the numbers.
        limit: bytes of memory.
    """

    def __init__(self, sizes: Mapping[str, int], dtype: torch.dtype, limit: float) -> None:
        self.names, self._dtype = tuple(sizes), np.dtype(str(dtype).removeprefix("torch."))
        self._torch = dtype
        ends = np.cumsum([0, *sizes.values()]).tolist()
        self._at = {name: slice(*ends[n : n + 2]) for n, name in enumerate(sizes)}
        self._numbers = ends[-1]
        self._most = limit // max(1, self._numbers * self._dtype.itemsize)
        self._near: dict[int, np.ndarray] = {}
        self._far: dict[int, int] = {}  # places in the file, in clients
        self._file: Any = None  # without a buffer, in which what did not fit on the disk would stay

    @property
    def spilled(self) -> int:
        """Clients whose vectors lie in a file."""
        return len(self._far)

    def rows(self, ids: Sequence[int]) -> State:
        """The vectors of these clients, [K, P] by name; zeros for a client that has none."""
        return {name: self.vectors(name, ids) for name in self.names}

    def vectors(self, name: str, ids: Sequence[int]) -> Tensor:
        """The vectors of one name of these clients, [K, P]."""
        at = self._at[name]
        found = torch.zeros(len(ids), at.stop - at.start, dtype=self._torch)
        for row, client in zip(found.numpy(), ids, strict=True):
            if client in self._near:
                row[:] = self._near[client][at]
            elif client in self._far and row.size:
                self._read(client, at, row)
        return found

    def keep(self, ids: Sequence[int], client_state: State) -> None:
        """Replace the vectors of these clients, [K, P] by name.

        Raises:
            RunError: the disk is full.
        """
        with on_disk(Path(tempfile.gettempdir()) / "what clients keep (server.state_memory)"):
            for name, at in self._at.items():
                kept_KP = client_state[name].detach().cpu().contiguous().numpy()
                for client, row in zip(ids, kept_KP, strict=True):
                    if client in self._near or (client not in self._far and len(self._near) < self._most):
                        self._near.setdefault(client, np.zeros(self._numbers, dtype=self._dtype))[at] = row
                    else:
                        self._far.setdefault(client, len(self._far))
                        if row.size:
                            self._write(client, at, row.astype(self._dtype, copy=False))

    def _read(self, client: int, at: slice, row: np.ndarray) -> None:
        file, left = self._at_place(client, at), row.data.cast("B")
        while number := file.readinto(left):
            left = left[number:]

    def _write(self, client: int, at: slice, row: np.ndarray) -> None:
        file, left = self._at_place(client, at), row.data.cast("B")
        while left:
            left = left[file.write(left) :]

    def _at_place(self, client: int, at: slice) -> Any:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="fedsam-", buffering=0)  # noqa: SIM115
            finalize(self, self._file.close)
        self._file.seek((self._far[client] * self._numbers + at.start) * self._dtype.itemsize)
        return self._file

    def has(self, client: int) -> bool:
        """Whether a client has any."""
        return client in self._near or client in self._far

    def kept(self) -> tuple[list[int], dict[str, Rows]]:
        """For a checkpoint: which clients have any, and the vectors of each name, a row for each of these."""
        ids = [*self._near, *self._far]

        def some(name: str, begin: int, end: int) -> Tensor:
            return self.vectors(name, ids[begin:end])

        shapes = {name: (len(ids), at.stop - at.start) for name, at in self._at.items()}
        return ids, {name: Rows(shape, self._torch, partial(some, name)) for name, shape in shapes.items()}

    def restore(self, ids: Sequence[int], kept: Mapping[str, Rows]) -> None:
        """What `kept` gave."""
        few = min((rows.few for rows in kept.values()), default=1)
        for begin in range(0, len(ids), few):
            some = slice(begin, begin + few)
            self.keep(ids[some], {name: rows[some] for name, rows in kept.items()})
