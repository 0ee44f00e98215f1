"""Federations of one's own, which generate what they are asked for: looked at as it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fedsam import InputError, RunError, simulate
from fedsam.data.base import Federation, Split
from fedsam.data.validation import federation_of
from tests.support.image_forms import CERTAIN, REFUSED, SPEC, described
from tests.support.ragged import Ragged, RaggedFederation


class Lazy(Ragged):
    """`change` is done to what each client gives, `test` to the test set."""

    clients: int = 7
    change: str = "as it should be"
    test: str = "as it should be"
    client: int = -1

    def load(self, seed: int) -> Federation:
        return LazyFederation(self, seed)


class LazyFederation(RaggedFederation):
    def __init__(self, data: Lazy, seed: int) -> None:
        super().__init__(data.clients, 6, 3, seed)
        self.spec = replace(SPEC, classes=3, shape=(6, 6, 3))
        self.data, self.asked = data, list[int]()
        self.test = self._changed(self.test, data.test)

    def _changed(self, split: Split, name: str) -> Split:
        change = {**CERTAIN, **{name: one for name, (one, _) in REFUSED.items()}, "dark": lambda x, y: (x % 2.0, y)}[
            name
        ]
        changed = change(split.inputs, split.targets)
        return Split(*changed)

    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        self.asked += ids
        parts = [np.arange(self.ends[k], self.ends[k + 1]) for k in ids]
        chosen = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
        store = Split(self.train.inputs[chosen], self.train.targets[chosen])
        ends = np.cumsum([0, *map(len, parts)])
        index: list[Any] = [np.arange(*ends[at : at + 2]) for at in range(len(ids))]
        if self.data.change in ("tensors", "lists"):
            index = [torch.from_numpy(own) if self.data.change == "tensors" else own.tolist() for own in index]
        return self._changed(store, self.data.change if self.data.client in (-1, *ids) else "as it should be"), index


def test_a_lazy_federation_is_read_for_one_client_alone() -> None:
    gate: Any = federation_of(Lazy(), 0)
    assert gate._whole.asked == [0]
    store = gate.examples([2, 3])[0]
    assert gate._whole.asked == [0, 2, 3]
    assert store.inputs.dtype == np.uint8


@pytest.mark.parametrize("change", ["tensors", "lists", "uint8 labels", "a column of labels", "channels first"])
def test_a_lazy_federation_gives_the_same_bits(change: str) -> None:
    runs = [simulate(described(Lazy(change=one))) for one in ("as it should be", change)]
    assert runs[0].digest == runs[1].digest


def test_floats_are_what_the_test_set_says_also_in_the_dark() -> None:
    gate = federation_of(Lazy(test="whole floats", change="dark"), 0)
    images = gate.examples([1, 2])[0].inputs
    assert set(images.flat) == {0, 1}
    gate = federation_of(Lazy(test="floats from 0 to 1", change="floats from 0 to 1"), 0)
    np.testing.assert_array_equal(gate.examples([1])[0].inputs, RaggedFederation(7, 6, 3, 0).train.inputs[1:4])
    with pytest.raises(InputError, match=r"its training set has images of float64, another split has bytes"):
        federation_of(Lazy(change="doubles, the other byte order"), 0)


def test_what_a_client_gives_is_its_failure_in_its_round() -> None:
    with pytest.raises(InputError, match=r"^name = .*:Lazy: its training set has images of shape \[1, 108\], must be"):
        federation_of(Lazy(change="flat"), 0)
    with pytest.raises(InputError, match=r"^name = .*:Lazy: its test set has the label -1, must be"):
        federation_of(Lazy(test="label -1"), 0)
    run = described(Lazy(change="NaN", client=5)).replace(cohort=7)
    with pytest.raises(RunError, match=r"round 1: client 5: ClientError: data.name = .*:Lazy: its training set has i"):
        simulate(run)
    result = simulate(run.replace(engine=run.engine.replace(on_client_error="skip")))
    assert result.metrics[-1]["clients"] == [0, 1, 2, 3, 4, 6]


class Miscounted(Ragged):
    what: str = "sizes"

    def load(self, seed: int) -> Federation:
        return MiscountedFederation(self.what, seed)


class MiscountedFederation(RaggedFederation):
    def __init__(self, what: str, seed: int) -> None:
        super().__init__(7, 6, 3, seed)
        self.what = what
        if what == "clients":
            self.clients = 2.5  # type: ignore[assignment]

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        return super().sizes(ids) + (self.what == "sizes")

    def examples(self, ids: Sequence[int]) -> Any:
        store, index = super().examples(ids)
        given = {
            "mask": [np.isin(np.arange(61), own) for own in index],
            "floats": [own.astype(float) for own in index],
            "below": [own - 1 for own in index],
            "beyond": [own + 61 for own in index],
            "one less": index[1:],
            "alone": index,
        }
        return store if self.what == "alone" else (store, given.get(self.what, index))


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("sizes", r"client 0 has 1 training examples, but sizes\(\) says 2"),
        ("mask", r"client 0 has positions in its training examples that are bool \[61\], must be int64 \[N\]"),
        ("floats", r"client 0 has positions in its training examples that are float64 \[1\], must be"),
        ("below", "client 0 has the position -1 in its training examples; the store has 61 examples, from 0 on"),
        ("beyond", "client 0 has the position 61 in its training examples; the store has"),
        ("one less", "it gave positions of 0 clients in place of 1"),
        ("alone", "it gave Split for its training examples, must be a store and positions"),
        ("clients", "its federation has 2.5 clients, must be a whole number"),
    ],
)
def test_a_federation_that_contradicts_itself_is_refused(what: str, says: str) -> None:
    with pytest.raises(InputError, match=f"^name = tests.data.test_gate:Miscounted: {says}"):
        federation_of(Miscounted(what=what), 0)


def test_a_federation_that_is_tuned_on_keeps_its_test_set_sealed() -> None:
    held = federation_of(Lazy(change="floats from 0 to 1", test="label -1", validation=0.3), 0)
    assert held.test.inputs.dtype == np.uint8
    assert held.test.inputs.max() > 1


def test_a_cohort_is_no_larger_than_the_federation() -> None:
    with pytest.raises(InputError, match="cohort = 9: must be at most 7, the clients of the data set"):
        simulate(described(Miscounted(what="none", clients=20)).replace(cohort=9))


class Kept(Ragged):
    def load(self, seed: int) -> Federation:
        found = RaggedFederation(7, 6, 3, seed)
        found.train = Split(found.train.inputs, found.train.targets[:, None])
        return found


def test_a_store_that_stays_is_converted_once() -> None:
    gate = federation_of(Kept(), 0)
    store = gate.examples([1])[0]
    assert store.targets.shape == (61,)
    assert gate.examples([2, 3])[0] is store
