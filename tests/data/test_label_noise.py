"""Label noise: exactly the share that was asked for, on training labels only, and nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsam import InputError, Run, simulate
from fedsam.data.base import Dataset, Federation, Split
from fedsam.data.digits import Digits
from fedsam.data.images.spec import ImageSpec
from fedsam.data.label_noise import NoiseKind, with_label_noise
from fedsam.data.stored import Partitioned
from fedsam.data.synthetic import Synthetic
from fedsam.rng import stream

IDS = [3, 0, 7, 4]
TRUE = Digits().read()[1].targets
both = pytest.mark.parametrize("of", [Digits, Synthetic], ids=["digits", "synthetic"])


def made(of: type[Dataset], seed: int = 0, **keys: Any) -> Federation:
    return of(**{"clients": 8, "local_test": 0.3, **keys}).load(seed)


def labels(federation: Federation, ids: list[int] | None = None, held: bool = False) -> list[list[int]]:
    """Of each client's training examples, or of what it holds out."""
    store, index = (federation.local_test if held else federation.examples)(ids or IDS)
    return [store.targets[i].tolist() for i in index]


KINDS = st.sampled_from(["symmetric", "asymmetric"])


@given(st.integers(2, 12), st.integers(0, 60), st.floats(0, 0.999), KINDS, st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_exactly_the_share_is_wrong_and_only_where_it_may_be(
    classes: int, examples: int, share: float, kind: NoiseKind, seed: int
) -> None:
    true = stream(seed, "true").integers(classes, size=examples)
    at = np.flatnonzero(stream(seed, "at").random(examples) < 0.7)
    true.flags.writeable = False
    noisy = with_label_noise(true, at, share, kind, classes, stream(seed, "label noise"))
    wrong = np.flatnonzero(noisy != true)
    assert len(wrong) == round(share * len(at))
    assert set(wrong) <= set(at)
    assert set(noisy.tolist()) <= set(range(classes))
    if kind == "asymmetric":
        assert noisy[wrong].tolist() == [(label + 1) % classes for label in true[wrong].tolist()]


def test_symmetric_noise_is_uniform_over_examples_and_over_the_other_classes() -> None:
    true = np.tile(np.arange(5), 20_000)
    noisy = with_label_noise(true, np.arange(len(true)), 0.4, "symmetric", 5, stream(0, "label noise"))
    counts = np.zeros((5, 5))
    np.add.at(counts, (true, noisy), 1)
    assert np.trace(counts) == 60_000
    others = counts[~np.eye(5, dtype=bool)]
    assert ((others - 2000) ** 2 / 2000).sum() < 43.8  # 0.1 % of chi-square with 19 degrees of freedom
    places = np.histogram(np.flatnonzero(noisy != true), bins=20, range=(0, len(true)))[0]
    assert ((places - 2000) ** 2 / 2000).sum() < 43.8


def test_a_larger_share_adds_to_a_smaller_one_and_both_kinds_choose_the_same() -> None:
    choices: list[tuple[float, NoiseKind]] = [(0.2, "symmetric"), (0.6, "symmetric"), (0.2, "asymmetric")]
    few, many, flipped = (with_label_noise(TRUE, np.arange(1400), *c, 10, stream(0, "label noise")) for c in choices)
    wrong = few != TRUE
    np.testing.assert_array_equal(few[wrong], many[wrong])
    np.testing.assert_array_equal(wrong, flipped != TRUE)


@both
@pytest.mark.parametrize(("kind", "shifts"), [("symmetric", range(10)), ("asymmetric", range(2))])
def test_noise_changes_training_labels_and_nothing_else(of: type[Dataset], kind: str, shifts: range) -> None:
    clean, noisy = (made(of, label_noise=x, label_noise_kind=kind) for x in (0.0, 0.35))
    everyone = list(range(8))
    for ask in ("examples", "local_test"):
        (store, index), (other, positions) = getattr(clean, ask)(everyone), getattr(noisy, ask)(everyone)
        for one, another in zip(index, positions, strict=True):
            np.testing.assert_array_equal(one, another)
        np.testing.assert_array_equal(store.inputs, other.inputs)
    assert labels(clean, everyone, held=True) == labels(noisy, everyone, held=True)
    np.testing.assert_array_equal(clean.test.inputs, noisy.test.inputs)
    np.testing.assert_array_equal(clean.test.targets, noisy.test.targets)
    pairs = list(zip(labels(clean, everyone), labels(noisy, everyone), strict=True))
    shift = [(np.array(own) - true) % 10 for true, own in pairs]
    assert set(np.concatenate(shift)) == set(shifts)
    sizes, wrong = noisy.sizes(everyone), [np.count_nonzero(of_client) for of_client in shift]
    assert sum(wrong) == round(0.35 * sizes.sum()) if of is Digits else wrong == [round(0.35 * n) for n in sizes]
    seen = [np.bincount(own, minlength=10) for own in labels(noisy, everyone)]
    np.testing.assert_array_equal(noisy.label_counts(everyone), seen)


@both
def test_noise_is_keyed_by_the_seed_and_by_the_client(of: type[Dataset]) -> None:
    clean, noisy, again, other = (made(of, seed, label_noise=x) for seed, x in [(5, 0.0), (5, 0.5), (5, 0.5), (6, 0.5)])
    together = labels(noisy)
    assert together == labels(again) != labels(other)
    assert [labels(again, [client])[0] for client in IDS] == together
    assert labels(again, IDS[::-1]) == together[::-1]
    places = [np.not_equal(one, two).tobytes() for one, two in zip(labels(clean), together, strict=True)]
    assert len(set(places)) == len(IDS), "two clients drew the same"


def test_digits_share_their_images_and_keep_their_own_labels() -> None:
    train, before = Digits().read()[1], TRUE.copy()
    assert made(Digits, label_noise=0.0).examples([0])[0] is train
    noisy = made(Digits, label_noise=0.4).examples([0])[0]
    assert noisy.inputs is train.inputs
    assert not np.shares_memory(noisy.targets, train.targets)
    assert not noisy.targets.flags.writeable
    np.testing.assert_array_equal(train.targets, before)


def test_the_seed_and_not_who_has_an_example_decides_its_noise() -> None:
    one, two, three = (
        made(Digits, seed, local_test=0.0, label_noise=0.4, partition=how).examples([0])[0].targets
        for seed, how in [(0, "iid"), (0, "dirichlet"), (1, "iid")]
    )
    np.testing.assert_array_equal(one, two)
    assert 0.4 < np.mean((one != TRUE) != (three != TRUE)) < 0.56  # 0.48 where the two are independent


def test_a_run_with_noise_ends_in_another_model() -> None:
    run = Run(data=Digits(clients=8), rounds=2, cohort=2)
    assert simulate(run).digest != simulate(run.replace(data=run.data.replace(label_noise=0.4))).digest


def test_impossible_values_are_refused() -> None:
    for value, line in {"1.0": "must be less than 1.0", "-0.1": "must be at least 0.0"}.items():
        with pytest.raises(InputError, match=rf"^data.label_noise = {value}: {line}$"):
            Run.from_keys({"data.label_noise": value})
    with pytest.raises(InputError, match=r"^data.label_noise_kind = pair: must be one of 'symmetric' or 'asymmetric'$"):
        Run.from_keys({"data.label_noise_kind": "pair"})


class OneClass(Partitioned):
    def read(self) -> tuple[ImageSpec, Split, Split]:
        split = Split(np.zeros((20, 2, 2, 1), dtype=np.uint8), np.zeros(20, dtype=np.int64)).read_only()
        return ImageSpec(1, (2, 2, 1), (0.0,), (1.0,)), split, split


def test_one_class_cannot_be_mistaken() -> None:
    OneClass(clients=2).load(0)
    with pytest.raises(InputError, match=r"^label_noise = 0.2: .* the data set has one class; set 0$"):
        OneClass(clients=2, label_noise=0.2).load(0)
