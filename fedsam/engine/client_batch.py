"""The steps of a block of clients as tensors with a first dimension for the clients.

Shapes: K clients of a block, T local steps, B batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fedsam.data.plan import ClientPlan
from fedsam.engine.context import DeviceSplit
from fedsam.engine.support.trees import mapped
from fedsam.engine.support.upload import numbers, uploaded
from fedsam.engine.train_client import Step

GATHERED = 2**24  # elements of inputs that are gathered for all steps at once, instead of step by step


@dataclass(frozen=True)
class ClientBatch:
    """The local steps of several clients, as many as the longest has.

    A client without a step repeats its last one there, inactive; what a smaller batch lacks is filled up by its first
    sample, invalid. Masks are used only in steps where clients differ.

    Args:
        rows: `index` [K, T, B], `count` [K, T], `valid` [K, T, B], `active` [K, T], the draws [K, T, B, ...] by
            their names after "draw ", `key` [K, T, 2] if the model has dropout, and `inputs` and `targets`
            [K, T, B, ...] if they are not too large.
        batch_T: the largest batch of each step.
        ragged_T: whether some client's batch is smaller in this step.
        missing_T: whether some client has no such step.
        beside: other numbers that were sent along.
    """

    rows: dict[str, Tensor]
    batch_T: list[int]
    ragged_T: list[bool]
    missing_T: list[bool]
    beside: dict[str, Tensor]

    @classmethod
    def of(
        cls,
        plans: Sequence[ClientPlan],
        store: DeviceSplit,
        dtype: torch.dtype,
        beside: Mapping[str, np.ndarray],
        most: int = 0,
    ) -> ClientBatch:
        """Of these clients, whose examples lie in the store; counts are numbers of the parameters' type.

        Args:
            beside: what else is to go to the device, in the same copy.
            most: where clients differ in their batches, fill all of them up to the next power of two, or to so many, so
                that there are few shapes; 0 = to the largest of each step.
        """
        steps, batch = max(len(plan.count_T) for plan in plans), max(plan.index_TB.shape[1] for plan in plans)
        if most:
            batch = max(batch, min(most, 1 << (batch - 1).bit_length()))
        active_KT = np.arange(steps) < np.array([len(plan.count_T) for plan in plans])[:, None]
        count_KT = np.stack([lengthened(plan.count_T, steps) for plan in plans])
        batch_T = np.where(active_KT, count_KT, 0).max(axis=0)
        valid_KTB = np.arange(batch) < count_KT[:, :, None]
        arrays = {"index": _stacked([plan.index_TB for plan in plans], steps, batch)}
        if plans[0].key_T2 is not None:
            arrays["key"] = np.stack([lengthened(plan.key_T2, steps) for plan in plans if plan.key_T2 is not None])
        for name in plans[0].draws:
            arrays[f"draw {name}"] = _stacked([plan.draws[name] for plan in plans], steps, batch)
        arrays |= {"valid": valid_KTB, "active": active_KT, "count": numbers(count_KT, dtype)}
        there = uploaded(arrays | {f"beside {name}": array for name, array in beside.items()}, store.targets.device)
        rows = {name: there[name] for name in arrays}
        if rows["index"].numel() * store.inputs[0].numel() <= GATHERED:
            rows |= {"inputs": store.inputs[rows["index"]], "targets": store.targets[rows["index"]]}
        ragged_T = np.any((count_KT < batch_T) & active_KT, axis=0)
        if most and ragged_T.any():
            batch_T, ragged_T = np.full(steps, batch), np.ones(steps, dtype=bool)
        missing_T = np.any(~active_KT, axis=0)
        sent = {name: there[f"beside {name}"] for name in beside}
        return cls(rows, batch_T.tolist(), list(map(bool, ragged_T)), list(map(bool, missing_T)), sent)

    def steps(self) -> Iterator[Step]:
        """The steps of all clients."""
        rows = self.rows
        for t, batch in enumerate(self.batch_T):

            def of(name: str, t: int = t, batch: int = batch) -> Tensor:
                array = rows[name].select(1, t)
                return array if array.dim() == 1 or array.shape[1] == batch else array.narrow(1, 0, batch)

            yield Step(
                None if "inputs" in rows else of("index"),
                of("count"),
                {name[5:]: of(name) for name in rows if name.startswith("draw ")},
                of("valid") if self.ragged_T[t] else None,
                of("active") if self.missing_T[t] else None,
                (of("inputs"), of("targets")) if "inputs" in rows else None,
                rows["key"].select(1, t) if "key" in rows else None,
            )

    def times(self, runs: int) -> ClientBatch:
        """The same clients for each of several runs, [R, ...], run by run."""
        return replace(self, rows=mapped(self.rows, lambda array: array.repeat(runs, *[1] * (array.dim() - 1))))


def lengthened(array: np.ndarray, length: int) -> np.ndarray:
    """An array with its last entry repeated until it has this length."""
    missing = length - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array


def _stacked(arrays: Sequence[np.ndarray], steps: int, batch: int) -> np.ndarray:
    return np.stack([filled(lengthened(array, steps), batch) for array in arrays])


def filled(array_TB: np.ndarray, batch: int) -> np.ndarray:
    """Batches [T, B, ...] lengthened to `batch` by the first sample of each."""
    missing = batch - array_TB.shape[1]
    return np.concatenate([array_TB, np.repeat(array_TB[:, :1], missing, axis=1)], axis=1) if missing else array_TB
