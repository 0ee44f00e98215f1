"""Validation examples: a share of every client's training examples, for choosing settings without the test set.

Shapes: N examples of a client, K clients asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from fedsam.border.budget import must_fit
from fedsam.data.base import Dataset, Federation, Split
from fedsam.data.digest import digest
from fedsam.data.gate import Gate
from fedsam.data.stored import stratified
from fedsam.errors import FedsamError, InputError, RunError
from fedsam.measure.names import VALIDATION
from fedsam.rng import stream
from fedsam.tasks.base import Task

MOST = 1000
"""Clients, drawn by lot from a larger federation, whose validation examples a run is measured on."""
KEPT = 20_000
"""Clients whose choice is remembered."""


def federation_of(data: Dataset, seed: int, cohort: int = 1, task: Task | None = None) -> Federation:
    """A data set as a run sees it: loaded, and with `data.validation` without what is held out and without test set.

    Args:
        cohort: clients whose examples must be in memory at once.
        task: what is learnt; None = what the data set is for.

    Raises:
        InputError: as `Dataset.load`; memory has no room for it; what was loaded is not of the right form; or no client
            has two training examples, so that nothing can be held out.
        RunError: loading broke off with an error of another kind.
    """
    must_fit(data.needs(cohort))
    loaded = _loaded(data if task is None else data.learning(task), seed)
    loaded.task = task or data.task
    return HeldOut(loaded, data.validation, seed) if data.validation else loaded


def _loaded(data: Dataset, seed: int) -> Federation:
    """What is loaded, checked: our own ways of loading check what they read."""
    try:
        loaded = data.load(seed)
        if type(data).load.__module__.startswith("fedsam.data."):
            return loaded
        if not isinstance(loaded, Federation):
            raise InputError("name", data.name, f"its load() gave {type(loaded).__name__}, must be a Federation")
        gate = Gate(loaded, data.name, sealed=data.validation > 0)
    except FedsamError:
        raise
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"data.name = {data.name}: loading it raised {told}") from error
    gate.look()
    return gate


def validation_size(examples_K: np.ndarray, share: float) -> np.ndarray:
    """How many of its N training examples a client holds out, int64: of two or more at least one, and never all.

        m = max(1, round(share · N))  for N ≥ 2,  0 for less

    Args:
        examples_K: N of each client.
        share: from 0 to 0.5.
    """
    size_K = np.maximum(1, np.rint(share * examples_K).astype(np.int64))
    return np.where(examples_K >= 2, np.minimum(size_K, examples_K - 1), 0)


class HeldOut(Federation):
    """A federation in which every client holds a part of its training examples out, keyed by seed and client.

    From each class of a client in proportion (Hamilton's method, see `stratified`). The examples keep the labels that
    clients would train on: with `data.label_noise` the noisy ones, since one who tunes on such data knows no others.

    `test` is not the test set, which is out of reach here, but the validation examples of all clients, of more than
    `MOST` clients those of so many drawn by lot.

    Args:
        whole: the federation.
        share: of each client's training examples, above 0.
        seed: of the run.
    """

    measured = VALIDATION

    def __init__(self, whole: Federation, share: float, seed: int) -> None:
        self.spec, self.clients, self.task = whole.spec, whole.clients, whole.task
        self._whole, self._share, self._seed = whole, share, seed
        self._kept: dict[int, np.ndarray] = {}
        self.test = self._pool()

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        """Training examples of each of these clients that are not held out, int64 [K]."""
        examples_K = self._whole.sizes(ids)
        left_K: np.ndarray = examples_K - validation_size(examples_K, self._share)
        return left_K

    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """The whole federation's store, and the positions of what is not held out."""
        store, index = self._whole.examples(ids)
        out = [self._out(k, store.targets[own]) for k, own in zip(ids, index, strict=True)]
        return store, [own[~held] for own, held in zip(index, out, strict=True)]

    def validation(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """As `examples`, for what each of these clients holds out."""
        store, index = self._whole.examples(ids)
        out = [self._out(k, store.targets[own]) for k, own in zip(ids, index, strict=True)]
        return store, [own[held] for own, held in zip(index, out, strict=True)]

    @property
    def ahead(self) -> bool:  # type: ignore[override]
        """As in the whole federation."""
        return self._whole.ahead

    def expect(self, ids: Sequence[int]) -> None:
        """As in the whole federation."""
        self._whole.expect(ids)

    def targets(self, ids: Sequence[int]) -> list[np.ndarray]:
        """Those of what is not held out."""
        every = self._whole.targets(ids)
        return [own[~self._out(k, own)] for k, own in zip(ids, every, strict=True)]

    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        """As in the whole federation."""
        return self._whole.local_test(ids)

    def groups_of(self, ids: Sequence[int]) -> list[list[str]]:
        """As in the whole federation."""
        return self._whole.groups_of(ids)

    @cached_property
    def digests(self) -> dict[str, str]:
        """Those of the whole federation, with the validation examples in place of the test set."""
        tests = {f"{name} examples" for name in (self._whole.measured, *self._whole.further)}
        whole = {name: sum for name, sum in self._whole.digests.items() if name not in tests}
        return {**whole, f"{VALIDATION} examples": digest(self.test.inputs, self.test.targets)}

    def _out(self, client: int, targets_N: np.ndarray) -> np.ndarray:
        """Which of a client's training examples it holds out, bool [N]."""
        client = int(client)
        if client not in self._kept:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            total = int(validation_size(np.array(len(targets_N)), self._share))
            self._kept[client] = stratified(
                self.strata(targets_N), total, stream(self._seed, VALIDATION, client=client)
            )
        return self._kept[client]

    def _pool(self) -> Split:
        ids = np.arange(self.clients)
        if self.clients > MOST:
            ids = np.sort(stream(self._seed, "validation clients").permutation(self.clients)[:MOST])
        every = self._whole.targets(ids.tolist())
        chosen = [self._out(k, own) for k, own in zip(ids.tolist(), every, strict=True)]
        if not any(some.any() for some in chosen):
            raise InputError(VALIDATION, self._share, "no client has two training examples; set 0")
        return self._whole.gathered(ids.tolist(), chosen)
