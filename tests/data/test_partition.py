"""Partitions: what all that are discovered must be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsam.errors import InputError
from fedsam.rng import stream
from tests.support.partitions import ALL, BY_GROUPS, EXTREMES, OUTCOME, balanced, conforms, counts, make, of, same

# every partition that is discovered


def test_the_partitions_are_discovered() -> None:
    assert set(ALL) >= {"iid", "dirichlet", "dirichlet_class", "shards", "quantity", "file"}


@pytest.mark.parametrize("name", ALL)
@settings(deadline=None, max_examples=40, derandomize=True)
@given(data=st.data())
def test_every_example_goes_to_at_most_one_client(
    name: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    clients = data.draw(st.integers(1, 12))
    labels = np.array(data.draw(st.lists(st.integers(0, 6), min_size=2 * clients, max_size=120)))
    size = None if name in OUTCOME else data.draw(st.none() | st.integers(2, len(labels) // clients))
    seed = data.draw(st.integers(0, 2**64 - 1))
    partition = make(name, tmp_path_factory.mktemp("split"), labels, clients, size)
    before = labels.copy()
    assignment = partition.assign(labels, clients, size, stream(seed, "partition"))
    conforms(assignment, len(labels), clients, size)
    assert np.array_equal(labels, before)
    assert same(assignment, partition.assign(labels, clients, size, stream(seed, "partition")))


@pytest.mark.parametrize("name", [n for n in ALL if n not in ("file", "natural", "within_groups")])
def test_another_seed_is_another_partition(name: str, tmp_path: Path) -> None:
    labels = balanced(200, 5)
    partition = make(name, tmp_path, labels, 10, None)
    first, second = (partition.assign(labels, 10, None, stream(seed, "partition")) for seed in (0, 1))
    assert not same(first, second)
    shared = [len(np.intersect1d(first.of_client(k), second.of_client(k))) for k in range(10)]
    assert sum(shared) < 100  # not the same clients in another order of classes


@pytest.mark.parametrize(("name", "keys"), EXTREMES)
@pytest.mark.parametrize(
    ("labels", "clients"),
    [
        (np.arange(40) % 4, 1),
        (np.arange(40) % 4, 40),  # one example each
        (np.zeros(30, dtype=np.int64), 7),  # one class
        (np.repeat([0, 1, 5], [1, 2, 997]), 50),  # very unequal, two classes missing
        (np.arange(300), 20),  # every example a class of its own
    ],
)
def test_extremes_end_and_conform(name: str, keys: dict[str, Any], labels: np.ndarray, clients: int) -> None:
    partition = of({"name": name, **keys})
    for seed in range(3):
        conforms(partition.assign(labels, clients, None, stream(seed, "partition")), len(labels), clients, None)
        if name not in OUTCOME:
            fixed = partition.assign(labels, clients, 1, stream(seed, "partition"))
            conforms(fixed, len(labels), clients, 1)


@pytest.mark.parametrize("name", [n for n in ALL if n != "file"])
def test_thousands_of_clients_conform(name: str, tmp_path: Path) -> None:
    labels = balanced(50_000, 100)
    partition = make(name, tmp_path, labels, 10_000, None)
    conforms(partition.assign(labels, 10_000, None, stream(0, "partition")), 50_000, 10_000, None)


@pytest.mark.parametrize("name", [n for n in ALL if n not in OUTCOME | {"file"}])
def test_too_few_examples_are_refused(name: str, tmp_path: Path) -> None:
    partition, labels = make(name, tmp_path, balanced(100, 5), 10, None), balanced(100, 5)
    with pytest.raises(InputError, match="samples_per_client = 11: 10 clients would need 110 examples"):
        partition.assign(labels, 10, 11, stream(0, "partition"))
    with pytest.raises(InputError, match="clients = 101: more clients than the 100 examples"):
        partition.assign(labels, 101, None, stream(0, "partition"))


@pytest.mark.parametrize("name", sorted(OUTCOME - BY_GROUPS))
def test_sizes_that_are_an_outcome_cannot_be_asked_for(name: str) -> None:
    with pytest.raises(InputError, match=f"samples_per_client = 3: sizes are an outcome of partition {name}"):
        counts(name, balanced(100, 5), 10, 3)
    with pytest.raises(InputError, match="min_size = 11: 10 clients would need 110 examples, there are 100"):
        counts(name, balanced(100, 5), 10, min_size=11)


@pytest.mark.parametrize(
    ("name", "keys"), [("dirichlet_class", {"alpha": 0.001}), ("quantity", {"sigma": 4.0}), ("quantity", {})]
)
def test_min_size_is_kept_and_zero_allows_empty_clients(name: str, keys: dict[str, Any]) -> None:
    labels = balanced(1000, 4)
    free = counts(name, labels, 100, min_size=0, **keys).sum(axis=1)
    assert free.min() == 0
    assert free.sum() == 1000
    for least in (1, 7, 10):
        held = counts(name, labels, 100, min_size=least, **keys).sum(axis=1)
        assert held.min() == least
        assert held.sum() == 1000
    unmoved = free >= 10
    cut = counts(name, labels, 100, min_size=1, **keys).sum(axis=1)
    assert (cut[unmoved] <= free[unmoved]).all()
