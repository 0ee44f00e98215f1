"""The state of a run after some rounds, as it is saved and as it is taken up again.

Shapes: K clients that keep vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fedsam.errors import Damaged
from fedsam.runs.manifest import check_pending
from fedsam.runs.records import Tally
from fedsam.storage.tensors import Rows

KEPT = "slots."
"""With this begin the names of what clients keep."""


@dataclass(frozen=True)
class Checkpoint:
    """The state after `round` rounds: tensors by name, and what has been counted since the last record.

    Args:
        records: what is said of the records up to here; None = nothing.
        kept: the vectors of each name that clients keep, a row for each client of `slots.ids`: with many clients more
            than memory holds.
    """

    round: int
    tensors: dict[str, Tensor]
    pending: dict[str, Any]
    records: Tally | None = None
    kept: dict[str, Rows] = field(default_factory=dict)

    @classmethod
    def of(
        cls, round: int, tensors: dict[str, Tensor], pending: dict[str, Any], ids: Sequence[int], kept: dict[str, Rows]
    ) -> Checkpoint:
        """With what the clients of these ids keep, a row for each."""
        if not ids:
            return cls(round, tensors, pending)
        named = {f"{KEPT}{name}": rows for name, rows in kept.items()}
        return cls(round, {**tensors, f"{KEPT}ids": torch.tensor(ids)}, pending, kept=named)

    def part(self, group: str, device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """The tensors whose names begin so, without that beginning, on a device."""
        found = {name: tensor for name, tensor in self.tensors.items() if name.startswith(group)}
        return {name.removeprefix(group): tensor.to(device) for name, tensor in found.items()}

    def like(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor of a name, on the device of one whose shape and type it must have.

        Raises:
            ValueError: it is not there, or is not like that.
        """
        found = self.tensors.get(name)
        self._check(name, found, tensor.shape, tensor.dtype)
        return found.to(tensor.device)  # type: ignore[union-attr]

    def _check(self, name: str, found: Tensor | Rows | None, shape: Sequence[int], dtype: torch.dtype) -> None:
        if found is None:
            raise ValueError(f"it has no tensor {name!r}")
        if tuple(found.shape) != tuple(shape) or found.dtype != dtype:
            pair = (found.dtype, found.shape), (dtype, shape)
            given, wanted = (f"{str(kind).removeprefix('torch.')} {list(numbers)}" for kind, numbers in pair)
            raise ValueError(f"its tensor {name!r} is {given}, in this run it is {wanted}")

    def client_state(
        self, sizes: Mapping[str, int], clients: int, dtype: torch.dtype
    ) -> tuple[list[int], dict[str, Rows]]:
        """What clients keep: whose it is [K], and the vectors of each name; nothing where no client keeps any.

        Args:
            sizes: of the vectors, by name.
            clients: how many there are.
            dtype: of the vectors.

        Raises:
            ValueError: it is not such.
        """
        if not self.kept and not self.part(KEPT):
            return [], {}
        ids = self.tensors.get(f"{KEPT}ids", torch.empty(0))
        whole = ids.dim() == 1 and ids.dtype == torch.int64 and len(set(ids.tolist())) == len(ids)
        if not whole or not bool(((ids >= 0) & (ids < clients)).all()):
            raise ValueError("its tensor 'slots.ids' does not number clients of this run")
        for name, size in sizes.items():
            key = f"{KEPT}{name}"
            self._check(key, self.kept.get(key, self.tensors.get(key)), (len(ids), size), dtype)
        return ids.tolist(), {name: self.kept[f"{KEPT}{name}"] for name in sizes}

    @contextmanager
    def fits(self, path: Path, rounds: int) -> Iterator[None]:
        """Inside, a run takes it up.

        Args:
            path: the run directory.
            rounds: of the run.

        Raises:
            Damaged: it cannot be the run's.
        """
        try:
            if self.round > rounds:
                raise ValueError(f"it is of round {self.round}, the run has {rounds}")
            check_pending(self.pending)
            yield
        except (LookupError, ValueError, TypeError, RuntimeError) as error:
            what = f"it has no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
            raise Damaged(f"the checkpoint in {path} is not this run's: {what}; {again(path)}") from None


def again(path: Path) -> str:
    """What to do about a damaged run directory."""
    return f"restore it from a copy, or start the run anew: fedsam run {path / 'run.json'} out=NEW"
