"""What clients keep from round to round: some vectors each, for those clients alone that were ever sampled.

Shapes: K clients asked for, M clients that have vectors, P parameters.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from fedsam.algorithm.client_hooks import State

CHUNK = 32  # clients


class ClientStates:
    """Vectors of clients, on the host; beyond a limit of memory in a file that ends with this process.

    Args:
        sizes: of the vectors, by name; P for most.
        dtype: of the numbers.
        limit: bytes of memory.
    """

    def __init__(self, sizes: Mapping[str, int], dtype: torch.dtype, limit: float) -> None:
        self.names, self.limit = tuple(sizes), limit
        ends = np.cumsum([0, *sizes.values()]).tolist()
        self._at = {name: slice(*ends[n : n + 2]) for n, name in enumerate(sizes)}
        self._numbers = ends[-1]
        self._dtype = str(dtype).removeprefix("torch.")
        self._row: dict[int, int] = {}
        self._chunks: list[np.ndarray] = []  # of [CHUNK, all vectors of a client]
        self.spilled = 0
        """Chunks that lie in a file."""

    def rows(self, ids: Sequence[int]) -> State:
        """The vectors of these clients, [K, P] by name; zeros for a client that has none."""
        found: dict[str, np.ndarray] = {}
        for name, at in self._at.items():
            found[name] = np.zeros((len(ids), at.stop - at.start), dtype=self._dtype)
            for k, client in enumerate(ids):
                if client in self._row:
                    found[name][k] = self._of(client)[at]
        return {name: torch.from_numpy(each_KP) for name, each_KP in found.items()}

    def keep(self, ids: Sequence[int], client_state: State) -> None:
        """Replace the vectors of these clients, [K, P] by name."""
        for name, at in self._at.items():
            kept_KP = client_state[name].detach().cpu().numpy()
            for k, client in enumerate(ids):
                self._of(client)[at] = kept_KP[k]

    def has(self, client: int) -> bool:
        """Whether a client has any."""
        return client in self._row

    def _of(self, client: int) -> np.ndarray:
        row = self._row.setdefault(client, len(self._row))
        if row // CHUNK == len(self._chunks):
            self._chunks.append(self._chunk())
        found: np.ndarray = self._chunks[row // CHUNK][row % CHUNK]
        return found

    def _chunk(self) -> np.ndarray:
        shape = CHUNK, self._numbers
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
