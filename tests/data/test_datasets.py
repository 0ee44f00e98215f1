"""Data sets: what every one must keep, and each reader against files made here."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsam import InputError, Run
from fedsam.config import find, names
from fedsam.data import digits as digits_module
from fedsam.data import synthetic as synthetic_module
from fedsam.data.base import Dataset, Split
from fedsam.data.digits import Digits
from fedsam.data.embedded_table import embedded_table
from fedsam.data.partition.base import Assignment, Partition, log_dirichlet, normalised
from fedsam.data.stored import held_out_size, hold_out
from fedsam.data.synthetic import Synthetic, SyntheticFederation
from fedsam.rng import stream


class Stripes(Partition):
    """Client k has every clients-th example, from k on."""

    def assign(
        self, labels: np.ndarray, clients: int, samples_per_client: int | None, rng: np.random.Generator
    ) -> Assignment:
        return Assignment.of([np.arange(k, len(labels), clients)[:samples_per_client] for k in range(clients)])


IDS = [3, 0, 7, 4]
WITHOUT_FILES: dict[str, Callable[..., Dataset]] = {
    "digits": lambda **keys: Digits(**{"clients": 8, "partition": Stripes(), **keys}),
    "digits, dirichlet": lambda **keys: Digits(**{"clients": 8, **keys}),
    "synthetic": lambda **keys: Synthetic(**{"clients": 8, **keys}),
    "synthetic, RGB": lambda **keys: Synthetic(**{"clients": 8, "channels": 3, "size": 5, "alpha": 100.0, **keys}),
    "synthetic, one class": lambda **keys: Synthetic(**{"clients": 8, "alpha": 0.0, **keys}),
}
every = pytest.mark.parametrize("make", WITHOUT_FILES.values(), ids=list(WITHOUT_FILES))


def content(held: tuple[Split, list[np.ndarray]]) -> list[list[bytes]]:
    """Each client's examples, image and label as bytes, in order."""
    store, index = held
    return [[store.inputs[i].tobytes() + bytes([int(store.targets[i])]) for i in own] for own in index]


def test_data_sets_are_discovered_and_helpers_are_not() -> None:
    own = {"digits", "cifar10", "cifar100", "mnist", "fashion_mnist", "svhn", "parquet", "imagefolder", "synthetic"}
    assert own <= set(names(Dataset))
    assert not {"base", "stored", "vision", "images", "plan"} & set(names(Dataset))
    root: Any = Dataset
    for name in ("digits", "synthetic", "parquet"):
        assert "root" not in find(root, name).model_fields, "a key that would be ignored"


# every data set that needs no files


@every
def test_images_are_bytes_and_labels_are_classes(make: Callable[..., Dataset]) -> None:
    federation = make().load(0)
    spec = federation.spec
    assert len(spec.mean) == len(spec.std) == spec.shape[2]
    for split in (federation.examples(IDS)[0], federation.test):
        assert split.inputs.dtype == np.uint8
        assert split.inputs.shape == (len(split), *spec.shape)
        assert split.inputs.max() <= spec.scale
        assert split.targets.dtype == np.int64
        assert set(split.targets.tolist()) <= set(range(spec.classes))
    assert set(federation.test.targets.tolist()) == set(range(spec.classes))


@every
def test_sizes_positions_and_counts_agree(make: Callable[..., Dataset]) -> None:
    for share in (0.0, 0.2):
        federation = make(local_test=share).load(1)
        assert federation.clients == 8
        store, index = federation.examples(IDS)
        assert federation.sizes(IDS).tolist() == [len(own) for own in index]
        assert federation.sizes(IDS).dtype == np.int64
        together = np.concatenate([*index, *federation.local_test(IDS)[1]])
        assert together.dtype == np.int64
        assert len(np.unique(together)) == len(together), "two clients share an example"
        counts = [np.bincount(store.targets[own], minlength=federation.spec.classes) for own in index]
        np.testing.assert_array_equal(federation.label_counts(IDS), counts)


@every
def test_a_client_has_the_same_data_whoever_else_is_asked_for(make: Callable[..., Dataset]) -> None:
    federation = make(local_test=0.2).load(2)
    for ask in (federation.examples, federation.local_test):
        together = content(ask(IDS))
        assert content(ask(IDS[:2])) == together[:2]
        assert content(ask(IDS[::-1])) == together[::-1]
        assert [content(ask([client]))[0] for client in IDS] == together


@every
def test_the_store_is_the_same_object_while_its_content_is(make: Callable[..., Dataset]) -> None:
    federation = make(local_test=0.2).load(2)
    store = federation.examples(IDS)[0]
    assert federation.examples(list(IDS))[0] is store
    assert federation.local_test(IDS)[0] is store


@every
def test_the_local_test_set_is_apart_and_has_the_same_label_skew(make: Callable[..., Dataset]) -> None:
    share = 0.3
    whole, parted = make().load(3), make(local_test=share).load(3)
    assert [len(own) for own in whole.local_test(IDS)[1]] == [0] * len(IDS)
    train, test = content(parted.examples(IDS)), content(parted.local_test(IDS))
    for all_of_it, kept, out in zip(content(whole.examples(IDS)), train, test, strict=True):
        assert sorted(kept + out) == sorted(all_of_it)
        assert len(out) == round(share * len(all_of_it))
        counts, held = (np.bincount([e[-1] for e in part], minlength=10) for part in (all_of_it, out))
        assert np.all(np.abs(held - counts * len(out) / len(all_of_it)) < 1)


@every
def test_the_same_seed_gives_the_same_data_and_another_one_others(make: Callable[..., Dataset]) -> None:
    one, again, other = (make(local_test=0.2).load(seed) for seed in (5, 5, 6))
    assert content(one.examples(IDS)) == content(again.examples(IDS))
    assert content(one.local_test(IDS)) == content(again.local_test(IDS))
    assert content(one.local_test(IDS)) != content(other.local_test(IDS))
    np.testing.assert_array_equal(one.test.inputs, again.test.inputs)


# what is held out


@given(st.lists(st.integers(0, 12), min_size=1, max_size=9), st.floats(0, 0.999), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_hold_out_rounds_each_class_by_largest_remainder(counts: list[int], share: float, seed: int) -> None:
    labels = stream(seed, "shuffle").permutation(np.repeat(np.arange(len(counts)), counts))
    out = hold_out(labels, share, stream(seed, "local_test"))
    total = max(0, min(round(share * len(labels)), len(labels) - 1))
    assert out.sum() == total == held_out_size(len(labels), share)
    if total:
        held = np.bincount(labels[out], minlength=len(counts))
        quota = np.array(counts) * total / len(labels)
        assert np.all(np.abs(held - quota) < 1)
        remainder = quota - np.floor(quota)
        lucky = held > quota
        assert not lucky.any() or remainder[lucky].min() >= remainder[(held < quota)].max(initial=0) - 1e-9


def test_ties_between_classes_and_examples_are_drawn_by_lot() -> None:
    labels = np.repeat(np.arange(4), 2)  # half of each class is its quota when two are held out
    held = np.sum([hold_out(labels, 0.25, stream(0, "local_test", client=k)) for k in range(2000)], axis=0)
    assert ((held - 500.0) ** 2 / 500).sum() < 26.1  # 0.1 % of chi-square with 8 degrees of freedom


def test_of_one_example_or_none_nothing_is_held_out() -> None:
    for labels in (np.array([3]), np.array([], dtype=np.int64)):
        assert not hold_out(labels, 0.99, stream(0, "local_test")).any()


# digits


def test_digits_are_scikit_learns_and_split_140_of_each_class() -> None:
    from sklearn.datasets import load_digits

    spec, train, test = Digits().read()
    assert (len(train), len(test)) == (1400, 397)
    assert np.bincount(train.targets).tolist() == [140] * 10
    there = load_digits()
    rows = sorted(i.astype(np.uint8).tobytes() + bytes([t]) for i, t in zip(there.images, there.target, strict=True))
    ours = [
        i.tobytes() + bytes([t]) for split in (train, test) for i, t in zip(split.inputs, split.targets, strict=True)
    ]
    assert sorted(ours) == rows
    inputs = (train.inputs / spec.scale - spec.mean) / spec.std
    assert abs(inputs.mean()) < 1e-12
    assert abs(inputs.std() - 1) < 1e-12
    assert spec.scale == 16 == train.inputs.max()


def test_digits_do_not_import_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, module)
    digits_module._read.__wrapped__()
    assert "sklearn" not in sys.modules


def test_the_split_of_digits_is_fixed_and_shared() -> None:
    one, other = Digits().load(0), Digits().load(1)
    assert one.test is other.test
    assert one.examples([0])[0] is other.examples([0])[0]
    with pytest.raises(ValueError, match="read-only"):
        one.test.inputs[0] = 0


def test_without_scikit_learn_digits_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^name = digits: needs scikit-learn"):
        embedded_table.__wrapped__("digits", "digits.csv.gz")


# synthetic


def test_a_million_clients_cost_nothing_until_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    images = SyntheticFederation._shown

    def counted(self: SyntheticFederation, labels: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        made.append(len(labels))
        return images(self, labels, drawn)

    monkeypatch.setattr(SyntheticFederation, "_shown", counted)
    tracemalloc.start()
    federation = Synthetic(clients=10**6, test_samples=100).load(0)
    assert federation.sizes([0, 999_999]).tolist() == [50, 50]
    assert made == [100]
    federation.examples([999_999, 12])
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()
    assert made == [100, 2 * 50]
    federation.label_counts(range(50))
    assert made == [100, 2 * 50]


def test_a_synthetic_client_does_not_depend_on_the_population() -> None:
    few, many = Synthetic(clients=10).load(4), Synthetic(clients=10**6).load(4)
    assert content(few.examples([7])) == content(many.examples([7]))
    assert len({str(content(many.examples([k]))) for k in (7, 1007, 2**16 + 7, 999_999)}) == 4


def test_a_synthetic_client_does_not_depend_on_what_is_asked_for_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where an image has a number of pixels that is no multiple of what a word holds."""
    keys: dict[str, Any] = {"clients": 9, "size": 5, "samples_per_client": 3, "local_test": 0.4, "label_noise": 0.3}
    together = content(Synthetic(**keys).load(4).examples(range(9)))
    assert [content(Synthetic(**keys).load(4).examples([k]))[0] for k in range(9)] == together
    test = Synthetic(**keys).load(4).test.inputs
    monkeypatch.setattr(synthetic_module, "ELEMENTS", 2 * 3 * 5 * 5)
    monkeypatch.setattr(synthetic_module, "L2_CACHE", 4 * 5 * 5)
    assert content(Synthetic(**keys).load(4).examples(range(9))) == together
    assert np.array_equal(Synthetic(**keys).load(4).test.inputs, test)


@pytest.mark.parametrize("alpha", [1e-9, 0.5, 100.0])
def test_synthetic_labels_are_drawn_from_dirichlet_shares(alpha: float) -> None:
    federation = Synthetic(clients=5, alpha=alpha, classes=7).load(3)
    labels = federation.examples(range(5))[0].targets.reshape(5, 50)
    for client in range(5):
        rng = stream(3, "synthetic", client=client)
        share_L = normalised(log_dirichlet(np.full(7, alpha / 7), rng))
        assert labels[client].tolist() == rng.choice(7, 50, p=share_L).tolist()


def test_synthetic_noise_is_standard_normal_and_independent() -> None:
    levels, inverse = synthetic_module.quantiles(), NormalDist().inv_cdf
    for i in (0, 1, 20_000, 2**15, 2**16 - 1):
        assert levels[i] == np.float32(inverse((i + 0.5) / 2**16))
    federation = Synthetic(clients=2000, alpha=0.0, samples_per_client=25, noise=20.0, size=4).load(0)
    assert isinstance(federation, SyntheticFederation)
    store = federation.examples(range(2000))[0]
    shown = (store.inputs - 127.5) / federation._gain - federation._prototypes_LHWC[store.targets]
    noise = np.asarray(shown / 20).reshape(2000, 25 * 16)
    few = 5 / noise.size**0.5  # five standard errors
    assert abs(noise.mean()) < few
    assert abs(np.square(noise).mean() - 1) < 2**0.5 * few + 1e-3  # 1e-3: of bytes, which are 1/12 too much
    for moment, expected in ((3, 0.0), (4, 3.0)):
        assert abs((noise**moment).mean() - expected) < 0.05
    for lag in (1, 2, 3, 4, 16):  # neighbours, words, images
        assert abs((noise[:, lag:] * noise[:, :-lag]).mean()) < few
    assert abs((noise[1:] * noise[:-1]).mean()) < few
    assert abs((np.square(noise[1:]) * np.square(noise[:-1])).mean() - 1) < 3 * few + 2e-3


@pytest.mark.parametrize(("alpha", "least", "most"), [(0.0, 1, 1), (1e-9, 1, 1), (1.0, 2, 7), (1e6, 10, 10)])
def test_alpha_is_the_label_skew(alpha: float, least: float, most: float) -> None:
    federation = Synthetic(clients=200, alpha=alpha, samples_per_client=200).load(0)
    counts = federation.label_counts(range(200))
    assert least <= (counts > 0).sum(axis=1).mean() <= most
    assert np.all(counts.sum(axis=0) > 0), "every class is somewhere"


def accuracy_of_least_squares(**keys: Any) -> float:
    federation = Synthetic(clients=60, **keys).load(0)
    spec, train, test = federation.spec, federation.examples(range(60))[0], federation.test

    def inputs(split: Split) -> np.ndarray:
        flat = ((split.inputs / spec.scale - spec.mean) / spec.std).reshape(len(split), -1)
        return np.concatenate([flat, np.ones((len(split), 1))], axis=1)

    weights = np.linalg.lstsq(inputs(train), np.eye(spec.classes)[train.targets], rcond=None)[0]
    return float(((inputs(test) @ weights).argmax(axis=1) == test.targets).mean())


def test_synthetic_can_be_learnt_and_noise_makes_it_harder() -> None:
    easy, usual, hard = (accuracy_of_least_squares(noise=noise) for noise in (0.1, 1.0, 3.0))
    assert easy > 0.99
    assert 0.8 < usual < 0.99
    assert 0.2 < hard < 0.6


@pytest.mark.parametrize("keys", [{}, {"noise": 0.0}, {"size": 12, "channels": 3}, {"noise": 5.0}], ids=str)
def test_synthetic_images_have_the_stated_mean_and_spread(keys: dict[str, Any]) -> None:
    federation = Synthetic(clients=400, alpha=1000.0, **keys).load(1)
    spec, levels = federation.spec, federation.examples(range(400))[0].inputs / 255
    assert abs(levels.mean() - spec.mean[0]) < 0.02
    assert abs(levels.std() / spec.std[0] - 1) < 0.1


def test_synthetic_has_no_partition_and_says_so() -> None:
    with pytest.raises(InputError) as caught:
        Run.from_keys({"data.name": "synthetic", "data.partition": "iid"})
    assert str(caught.value).startswith("data.partition = iid: synthetic has none: its clients draw their classes by")
