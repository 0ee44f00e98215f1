"""What clients keep from round to round: some vectors each, for those clients alone that were ever sampled.

Shapes: K clients asked for, M clients that have vectors, P parameters.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import numpy as np
import torch

from fedsam.client_half import State

CHUNK = 32  # clients


class Slots:
    """Vectors of clients, on the host; beyond a limit of memory in a file that ends with this process.

    Args:
        names: of the vectors.
        numbers: P.
        dtype: of the numbers.
        limit: bytes of memory.
    """

    def __init__(self, names: Sequence[str], numbers: int, dtype: torch.dtype, limit: float) -> None:
        self.names, self.numbers, self.limit = tuple(names), numbers, limit
        self._dtype = str(dtype).removeprefix("torch.")
        self._row: dict[int, int] = {}
        self._chunks: list[np.ndarray] = []  # of [CHUNK, names, P]
        self.spilled = 0
        """Chunks that lie in a file."""

    def rows(self, ids: Sequence[int]) -> State:
        """The vectors of these clients, [K, P] by name; zeros for a client that has none."""
        found = np.zeros((len(self.names), len(ids), self.numbers), dtype=self._dtype)
        for k, client in enumerate(ids):
            if client in self._row:
                found[:, k] = self._of(client)
        return {name: torch.from_numpy(each_KP) for name, each_KP in zip(self.names, found, strict=True)}

    def keep(self, ids: Sequence[int], slots: State) -> None:
        """Replace the vectors of these clients, [K, P] by name."""
        for n, name in enumerate(self.names):
            kept_KP = slots[name].detach().cpu().numpy()
            for k, client in enumerate(ids):
                self._of(client)[n] = kept_KP[k]

    def _of(self, client: int) -> np.ndarray:
        row = self._row.setdefault(client, len(self._row))
        if row // CHUNK == len(self._chunks):
            self._chunks.append(self._chunk())
        found: np.ndarray = self._chunks[row // CHUNK][row % CHUNK]
        return found

    def _chunk(self) -> np.ndarray:
        shape = CHUNK, len(self.names), self.numbers
        size = int(np.prod(shape)) * np.dtype(self._dtype).itemsize
        if (len(self._chunks) + 1) * size <= self.limit:
            return np.zeros(shape, dtype=self._dtype)
        self.spilled += 1
        with tempfile.TemporaryFile(prefix="fedsam-") as file:
            return np.memmap(file, dtype=self._dtype, mode="w+", shape=shape)

    def tensors(self) -> State:
        """Everything, for a checkpoint: `ids` [M] and each name's vectors [M, P]; nothing if no client has any."""
        if not self._row:
            return {}
        ids = list(self._row)
        return {"ids": torch.tensor(ids), **self.rows(ids)}

    def restore(self, tensors: State) -> None:
        """What `tensors` gave."""
        if tensors:
            self.keep(tensors["ids"].tolist(), tensors)
