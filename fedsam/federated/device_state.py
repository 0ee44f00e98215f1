"""What clients keep from round to round, on the device that trains them, as far as that has room.

Shapes: K clients asked for, M clients that have vectors, N numbers that a client keeps, P parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import State
from fedsam.engine.support.trees import picked
from fedsam.engine.support.upload import uploaded
from fedsam.federated.client_state import ClientStates
from fedsam.storage.tensors import Rows

CHUNK = 32  # clients


class DeviceStates:
    """As `ClientStates`, in the device's memory, so that a round neither sends these vectors nor waits for them. What
    clients keep for whom there is no more room lies on the host.

    Args:
        sizes: of the vectors, by name; P for most.
        dtype: of the numbers.
        limit: bytes of the host's memory.
        device: where.
        room: bytes there.
    """

    def __init__(
        self, sizes: Mapping[str, int], dtype: torch.dtype, limit: float, device: torch.device, room: float
    ) -> None:
        self._host = ClientStates(sizes, dtype, limit)
        self.names, self._sizes, self._device = tuple(sizes), list(sizes.values()), device
        numbers = sum(self._sizes)
        self._most = int(room // max(numbers * dtype.itemsize, 1))
        self._row: dict[int, int] = {}
        self._chunks: list[Tensor] = []  # of [CHUNK, N]
        self._none_N = torch.zeros(numbers, dtype=dtype, device=device)

    def rows(self, ids: Sequence[int]) -> State:
        """The vectors of these clients, [K, P] by name; zeros for a client that has none."""
        if not self.names:
            return {}
        elsewhere = self._host.rows(away) if (away := [client for client in ids if self._host.has(client)]) else {}
        brought = uploaded({name: kept_KP.numpy() for name, kept_KP in elsewhere.items()}, self._device)
        came = [dict(zip(self.names, vectors, strict=True)) for vectors in zip(*brought.values(), strict=True)]
        more = dict(zip(away, came, strict=True))
        found = [more[client] if client in more else self._vectors(client) for client in ids]
        return {name: torch.stack([vectors[name] for vectors in found]) for name in self.names}

    def keep(self, ids: Sequence[int], client_state: State) -> None:
        """Replace the vectors of these clients, [K, P] by name."""
        here = [k for k, client in enumerate(ids) if self._has_room(client)]
        away = [k for k in range(len(ids)) if k not in set(here)]
        if here:
            mine = [self._vectors(ids[k]) for k in here]
            for name in self.names:
                rows = client_state[name].detach().unbind(0)
                torch._foreach_copy_([vectors[name] for vectors in mine], [rows[k] for k in here])
        if away:
            kept = {name: client_state[name] for name in self.names}
            self._host.keep([ids[k] for k in away], picked(kept, away))

    def _has_room(self, client: int) -> bool:
        """Whether a client is kept on the device, from now on if it is new."""
        if client not in self._row:
            if self._host.has(client) or len(self._row) == self._most:
                return False
            row = self._row[client] = len(self._row)
            if row == CHUNK * len(self._chunks):
                self._chunks.append(self._none_N.new_zeros(min(CHUNK, self._most - row), len(self._none_N)))
        return True

    def _vectors(self, client: int) -> State:
        """Of one client, as views."""
        row = self._row.get(client)
        whole_N = self._none_N if row is None else self._chunks[row // CHUNK][row % CHUNK]
        return dict(zip(self.names, torch.split(whole_N, self._sizes), strict=True))

    def kept(self) -> tuple[list[int], dict[str, Rows]]:
        """For a checkpoint: which clients have any, and the vectors of each name, a row for each of these."""
        away, _ = self._host.kept()
        ids = [*self._row, *away]

        def some(name: str, begin: int, end: int) -> Tensor:
            here = [self._vectors(client)[name] for client in ids[begin:end] if client in self._row]
            there = self._host.vectors(name, ids[begin + len(here) : end])
            return torch.cat([torch.stack(here).cpu(), there]) if here else there

        shapes = {name: (len(ids), size) for name, size in zip(self.names, self._sizes, strict=True)}
        return ids, {name: Rows(shape, self._none_N.dtype, partial(some, name)) for name, shape in shapes.items()}

    def restore(self, ids: Sequence[int], kept: Mapping[str, Rows]) -> None:
        """What `kept` gave."""
        few = min((rows.few for rows in kept.values()), default=1)
        for begin in range(0, len(ids), few):
            some = slice(begin, begin + few)
            self.keep(ids[some], {name: rows[some].to(self._device) for name, rows in kept.items()})


def client_states(
    sizes: Mapping[str, int], dtype: torch.dtype, limit: float, device: torch.device
) -> ClientStates | DeviceStates:
    """On the host; where clients are trained on a GPU in at most half of its free memory first."""
    if device.type != "cuda" or not sizes:
        return ClientStates(sizes, dtype, limit)
    return DeviceStates(sizes, dtype, limit, device, torch.cuda.mem_get_info(device)[0] / 2)
