"""Partitions: what all that are discovered must be, what each of them promises, and what is refused."""

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsam.config import names, resolve
from fedsam.data.partition.base import (
    Assignment,
    Partition,
    apportion,
    deal,
    even_sizes,
    lifted,
    log_dirichlet,
    normalised,
)
from fedsam.errors import InputError
from fedsam.rng import stream

REAL = os.environ.get("FEDSAM_DATA")  # read before a fixture can touch it
KIND: Any = Partition
ALL = names(Partition)
OUTCOME = {"dirichlet_class", "quantity"}  # sizes are an outcome of the rule
EXTREMES = [
    ("iid", {}),
    ("dirichlet", {"alpha": 5e-324}),
    ("dirichlet", {"alpha": 1e-12}),
    ("dirichlet", {"alpha": 0.05}),
    ("dirichlet", {"alpha": 1e6}),
    ("dirichlet", {"alpha": 1e300}),
    ("dirichlet_class", {"alpha": 5e-324}),
    ("dirichlet_class", {"alpha": 1e-12}),
    ("dirichlet_class", {"alpha": 1e6}),
    ("dirichlet_class", {"alpha": 1e300}),
    ("shards", {"shards_per_client": 1}),
    ("quantity", {"sigma": 0.0}),
    ("quantity", {"sigma": 1e6}),
]


def of(chosen: Any) -> Partition:
    found: Partition = resolve(KIND, chosen)
    return found


def make(name: str, folder: Path, labels: np.ndarray, clients: int, size: int | None, **keys: Any) -> Partition:
    """The partition; `file` reads one that is written here."""
    if name == "file" and not keys:
        parts = np.array_split(np.arange(len(labels))[::-1], clients)
        path = folder / "split.json"
        path.write_text(json.dumps([part[:size].tolist() for part in parts]))
        keys = {"split_file": str(path)}
    return of({"name": name, **keys})


def counts_of(assignment: Assignment, labels: np.ndarray) -> np.ndarray:
    classes = int(labels.max()) + 1
    parts = [assignment.of_client(k) for k in range(assignment.clients)]
    return np.stack([np.bincount(labels[part], minlength=classes) for part in parts])


def counts(name: str, labels: np.ndarray, clients: int, size: int | None = None, seed: int = 0, **keys: Any) -> Any:
    partition = of({"name": name, **keys})
    return counts_of(partition.assign(labels, clients, size, stream(seed, "partition")), labels)


def balanced(examples: int, classes: int, seed: int = 0) -> np.ndarray:
    return stream(seed, "labels").permutation(np.arange(examples) % classes)


def conforms(assignment: Assignment, examples: int, clients: int, size: int | None, covers: bool = True) -> None:
    assert assignment.index.dtype == assignment.offsets.dtype == np.int64
    assert assignment.clients == clients
    assert assignment.offsets[0] == 0
    assert assignment.offsets[-1] == len(assignment.index)
    sizes = assignment.sizes()
    assert sizes.min() >= 1
    assert len(np.unique(assignment.index)) == len(assignment.index)
    assert assignment.index.min() >= 0
    assert assignment.index.max() < examples
    for k in range(clients):
        assert (np.diff(assignment.of_client(k)) > 0).all()
    if size is not None:
        assert (sizes == size).all()
    elif covers:
        assert len(assignment.index) == examples


def same(a: Assignment, b: Assignment) -> bool:
    return np.array_equal(a.index, b.index) and np.array_equal(a.offsets, b.offsets)


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


@pytest.mark.parametrize("name", [n for n in ALL if n != "file"])
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
def test_thousands_of_clients_take_no_time(name: str, tmp_path: Path) -> None:
    labels = balanced(50_000, 100)
    partition = make(name, tmp_path, labels, 10_000, None)
    start = time.process_time()
    conforms(partition.assign(labels, 10_000, None, stream(0, "partition")), 50_000, 10_000, None)
    assert time.process_time() - start < 2  # seconds, the check included; a loop over examples takes longer


@pytest.mark.parametrize("name", [n for n in ALL if n not in OUTCOME | {"file"}])
def test_too_few_examples_are_refused(name: str, tmp_path: Path) -> None:
    partition, labels = make(name, tmp_path, balanced(100, 5), 10, None), balanced(100, 5)
    with pytest.raises(InputError, match="samples_per_client = 11: 10 clients would need 110 examples"):
        partition.assign(labels, 10, 11, stream(0, "partition"))
    with pytest.raises(InputError, match="clients = 101: more clients than the 100 examples"):
        partition.assign(labels, 101, None, stream(0, "partition"))


@pytest.mark.parametrize("name", sorted(OUTCOME))
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


# iid


def test_iid_labels_are_hypergeometric() -> None:
    labels = balanced(20_000, 4)
    found = counts("iid", labels, 400)  # 50 each
    assert found.mean(axis=0) == pytest.approx([12.5] * 4)
    variance = 50 * 0.25 * 0.75 * (20_000 - 50) / (20_000 - 1)
    assert found.var(axis=0) == pytest.approx([variance] * 4, rel=0.2)


# dirichlet


def hsu(labels: np.ndarray, clients: int, size: int, alpha: float, rng: np.random.Generator) -> np.ndarray:
    """Section 3 of Hsu et al. by the letter: one example after the other, renormalised when a class runs out."""
    pool = np.bincount(labels)
    prior = pool / pool.sum()
    found = np.zeros((clients, len(pool)), dtype=np.int64)
    for k in range(clients):
        mix = rng.dirichlet(alpha * prior)
        for _ in range(size):
            mix = np.where(pool > 0, mix, 0.0)
            mix = mix / mix.sum() if mix.sum() > 0 else (pool > 0) / (pool > 0).sum()
            c = int(np.searchsorted(np.cumsum(mix), rng.random() * mix.sum(), side="right"))
            found[k, c] += 1
            pool[c] -= 1
    return found


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0, 100.0])
def test_dirichlet_is_hsus_sequential_algorithm(alpha: float) -> None:
    labels = np.repeat(np.arange(5), [60, 60, 120, 240, 120])
    slow = np.stack([hsu(labels, 20, 30, alpha, np.random.default_rng(seed)) for seed in range(60)])
    fast = np.stack([counts("dirichlet", labels, 20, seed=seed, alpha=alpha) for seed in range(60)])

    def moments(found_SKL: np.ndarray) -> np.ndarray:
        first, last = found_SKL[:, :10], found_SKL[:, 10:]  # what is left for the last ones shows the renormalisation
        per_seed = [(half > 0).sum(axis=2).mean(axis=1) for half in (first, last)]
        per_seed += [(half / 30).var(axis=1).mean(axis=1) for half in (first, last)]
        return np.stack(per_seed)

    a, b = moments(slow), moments(fast)
    error = np.sqrt((a.var(axis=1) + b.var(axis=1)) / 60)
    assert (np.abs(a.mean(axis=1) - b.mean(axis=1)) < 4 * error + 1e-9).all()
    assert (a.mean(axis=1)[:2] > 1.05).all()  # the comparison is not one of constants


def test_dirichlet_mixes_have_the_moments_of_their_distribution() -> None:
    labels = np.repeat([0, 1, 2], [200_000, 300_000, 500_000])
    prior, alpha, size = np.array([0.2, 0.3, 0.5]), 2.0, 50
    found = counts("dirichlet", labels, 3000, size, alpha=alpha)  # pools are never exhausted
    assert found.mean(axis=0) / size == pytest.approx(prior, abs=0.02)
    # Dirichlet-multinomial: n p (1 - p) (n + alpha) / (1 + alpha)
    variance = size * prior * (1 - prior) * (size + alpha) / (1 + alpha)
    assert found.var(axis=0) == pytest.approx(variance, rel=0.07)


def test_dirichlet_with_a_large_concentration_is_the_whole() -> None:
    labels = np.repeat(np.arange(4), [4000, 8000, 12_000, 16_000])
    share = counts("dirichlet", labels, 20, 1000, alpha=1e6) / 1000
    bound = 4.5 * np.sqrt(0.25 / 1000)  # standard deviations of a share of 1000 draws
    assert np.abs(share - [0.1, 0.2, 0.3, 0.4]).max() < bound
    skewed = counts("dirichlet", labels, 20, 1000, alpha=10.0) / 1000
    assert np.abs(skewed - [0.1, 0.2, 0.3, 0.4]).max() > bound


def test_dirichlet_with_a_tiny_concentration_is_one_class_until_pools_run_out() -> None:
    found = counts("dirichlet", balanced(5000, 10), 20, 10, alpha=1e-12)
    assert ((found > 0).sum(axis=1) == 1).all()
    assert len(np.unique(found.argmax(axis=1))) > 4  # clients choose for themselves


@pytest.mark.parametrize(("clients", "size"), [(100, None), (100, 5), (7, 10), (30, 30)])
def test_alpha_zero_is_exactly_one_class_each(clients: int, size: int | None) -> None:
    found = counts("dirichlet", balanced(1000, 10), clients, size, alpha=0)
    if size is None:
        size = 10
    elif clients > 10:
        assert np.bincount(found.argmax(axis=1)).tolist() == [clients // 10] * 10
    assert ((found > 0).sum(axis=1) == 1).all()
    assert (found.max(axis=1) == size).all()
    assert (np.diff(found.argmax(axis=1)) != 0).any()
    assert (np.diff(found.argmax(axis=1)) < 0).any()  # which client has which class is random


def test_alpha_zero_gives_clients_to_classes_in_proportion() -> None:
    labels = np.repeat(np.arange(4), [7, 130, 263, 600])
    found = counts("dirichlet", labels, 20, alpha=0)
    assert found.sum(axis=0).tolist() == [7, 130, 263, 600]
    # quotas 0.14, 2.6, 5.26, 12: the first class must have one client, the second has the largest remainder
    assert (found > 0).sum(axis=0).tolist() == [1, 2, 5, 12]
    for c in range(4):
        own = found[found[:, c] > 0, c]
        assert own.max() - own.min() <= 1


def test_alpha_zero_says_what_is_impossible() -> None:
    with pytest.raises(InputError, match="clients = 9: at alpha = 0 a client has one class: must be at least 10"):
        counts("dirichlet", balanced(1000, 10), 9, alpha=0)
    with pytest.raises(InputError, match=r"samples_per_client = 30: .* hold 30 clients of this size, not 31"):
        counts("dirichlet", balanced(1000, 10), 31, 30, alpha=0)
    # What is just possible is done: quotas 1.425, 1.425, 3.15, but the first two classes hold one client each.
    found = counts("dirichlet", np.repeat([0, 1, 2], [19, 19, 42]), 6, 10, alpha=0)
    assert (found > 0).sum(axis=0).tolist() == [1, 1, 4]


# dirichlet_class


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_dirichlet_class_proportions_have_the_moments_of_their_distribution(alpha: float) -> None:
    clients, classes, each = 5, 40, 2000
    labels = np.repeat(np.arange(classes), each)
    found = np.stack([counts("dirichlet_class", labels, clients, seed=s, alpha=alpha, min_size=0) for s in range(25)])
    assert (found.sum(axis=1) == each).all()
    share = found.swapaxes(1, 2).reshape(-1, clients) / each  # 1000 draws
    variance = (clients - 1) / (clients**2 * (clients * alpha + 1))
    assert share.mean(axis=0) == pytest.approx(np.full(clients, 1 / clients), abs=4.5 * math.sqrt(variance / 1000))
    assert share.var(axis=0).mean() == pytest.approx(variance, rel=0.07)


def test_dirichlet_class_moves_random_examples_of_the_largest_clients_only() -> None:
    labels = balanced(2000, 4)
    free = counts("dirichlet_class", labels, 50, alpha=0.02, min_size=0)
    held = counts("dirichlet_class", labels, 50, alpha=0.02, min_size=5)
    small, gave = free.sum(axis=1) < 5, held.sum(axis=1) < free.sum(axis=1)
    assert small.sum() >= 10
    assert (held.sum(axis=1)[small] == 5).all()
    assert (held[~small & ~gave] == free[~small & ~gave]).all()
    assert (held[small] >= free[small]).all()
    level = held.sum(axis=1)[gave].max()
    assert level - held.sum(axis=1)[gave].min() <= 1
    assert free.sum(axis=1)[~gave].max() <= level


def test_dirichlet_class_moves_random_examples_to_random_clients() -> None:
    labels = np.repeat([0, 1], 500)
    givers = set()
    for seed in range(40):  # each class goes to one client; sometimes both to the same
        free = counts("dirichlet_class", labels, 5, seed=seed, alpha=1e-6, min_size=0)
        held = counts("dirichlet_class", labels, 5, seed=seed, alpha=1e-6, min_size=100)
        received = held[free.sum(axis=1) == 0]
        assert np.abs(received[:, 0] - 50).max() < 5 * 5  # hypergeometric, standard deviation below 5
        givers.add(int((free.sum(axis=1) > 0).sum()))
    assert givers == {1, 2}


# shards


@pytest.mark.parametrize(("clients", "size"), [(10, None), (10, 40), (17, None), (17, 31)])
@pytest.mark.parametrize("shards", [1, 2, 5])
def test_shards_cross_few_borders(clients: int, size: int | None, shards: int) -> None:
    labels = balanced(1000, 5)
    found = counts("shards", labels, clients, size, shards_per_client=shards)
    # Each of the 4 borders between classes lies in at most one shard, which so has one class more.
    assert ((found > 0).sum(axis=1) <= shards + 4).all()
    assert (found > 0).sum() <= clients * shards + 4
    assert found.sum(axis=1).max() - found.sum(axis=1).min() <= 1


def test_shards_are_mcmahans() -> None:
    found = counts("shards", balanced(6000, 10), 100)
    assert set(np.unique(found)) == {0, 30, 60}  # 200 shards of 30, borders of classes at borders of shards
    classes = (found > 0).sum(axis=1)
    assert classes.max() == 2
    # A client's second shard is of the class of its first with probability 19 / 199.
    assert (classes == 1).mean() == pytest.approx(19 / 199, abs=0.1)
    with pytest.raises(InputError, match="shards_per_client = 61: must be at most 60, the examples of a client"):
        counts("shards", balanced(6000, 10), 100, shards_per_client=61)


# quantity


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_quantity_sizes_are_log_normal(sigma: float) -> None:
    found = counts("quantity", balanced(100_000, 4), 500, sigma=sigma)
    logs = np.log(found.sum(axis=1))
    assert logs.std() == pytest.approx(sigma, rel=0.1)
    assert ((logs - logs.mean()) ** 3).mean() / logs.std() ** 3 == pytest.approx(0, abs=0.35)  # skewness
    large = found[found.sum(axis=1) > 200]
    share = large / large.sum(axis=1, keepdims=True)
    assert np.abs(share - 0.25).max() < 5 * math.sqrt(0.25 * 0.75 / 200)  # labels as in the whole


def test_quantity_with_sigma_zero_is_even() -> None:
    sizes = counts("quantity", balanced(1003, 4), 10, sigma=0.0).sum(axis=1)
    assert sorted(sizes) == [100] * 7 + [101] * 3


# file


LABELS = np.arange(30) % 3


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A folder with splits of the right and the wrong form."""
    even = np.arange(30).reshape(5, 6)[:, ::-1]
    wrong_range, twice, own = even.copy(), even.copy(), even.copy()
    wrong_range[3, 2], twice[4, 5], own[2, 0] = 30, 7, even[2, 5]
    arrays: dict[str, Any] = {
        "even": even,
        "small": even[:, :4].astype(np.uint8),
        "range": wrong_range,
        "twice": twice,
        "own": own,
    }
    arrays |= {"real": even.astype(float), "flat": even.reshape(-1), "none": even[:, :0], "negative": even - 1}
    arrays |= {"huge": np.full((5, 1), 2**63, dtype=np.uint64), "objects": np.array([{}, []], dtype=object)}
    np.savez(tmp_path / "a.npz", **arrays)
    ragged = [[5, 1], [0], [29, 2, 3], [4], [10]]
    documents: dict[str, Any] = {
        "list": ragged,
        "map": {str(k): part for k, part in reversed(list(enumerate(ragged, start=8)))},
        "members": {"even": even.tolist(), "ragged": ragged},
        "empty": [*ragged[:4], []],
        "text": [*ragged[:4], ["6"]],
        "real": [*ragged[:4], [6.0]],
        "bool": [*ragged[:4], [True]],
        "huge": [*ragged[:4], [2**70]],
        "flat": [1, 2, 3, 4, 5],
        "number": 3,
        "null": {"0": None},
    }
    for name, document in documents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    (tmp_path / "broken.json").write_text("[[1, 2")
    (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
    (tmp_path / "broken.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:300])
    damaged = bytearray((tmp_path / "a.npz").read_bytes())
    damaged[200] ^= 255
    (tmp_path / "damaged.npz").write_bytes(damaged)
    return tmp_path


def read(split: Path, name: str, clients: int = 5, size: int | None = None) -> Assignment:
    partition = of({"name": "file", "split_file": f"{split}/{name}"})
    return partition.assign(LABELS, clients, size, stream(0, "partition"))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.npz:even", [list(range(6 * k, 6 * k + 6)) for k in range(5)]),
        ("a.npz:small", [list(range(6 * k + 2, 6 * k + 6)) for k in range(5)]),
        ("list.json", [[1, 5], [0], [2, 3, 29], [4], [10]]),
        ("map.json", [[1, 5], [0], [2, 3, 29], [4], [10]]),  # 8 ... 12: in the order of numbers, not of text
        ("members.json:ragged", [[1, 5], [0], [2, 3, 29], [4], [10]]),
        ("members.json:even", [list(range(6 * k, 6 * k + 6)) for k in range(5)]),
    ],
)
def test_file_gives_what_it_says(split: Path, name: str, parts: list[list[int]]) -> None:
    assignment = read(split, name)
    assert [assignment.of_client(k).tolist() for k in range(5)] == parts
    conforms(assignment, 30, 5, None, covers=False)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gone.npz:a", "there is no file .*gone.npz"),
        ("a.csv", "must be PATH.npz:ARRAY, PATH.json or PATH.json:MEMBER"),
        ("a.npz", "must name one of the arrays of a.npz after a colon: even, small, range"),
        ("a.npz:odd", "must name one of the arrays of a.npz after a colon: even, small, range"),
        ("a.npz:real", r"must be integers \[clients, n\], not float64 \[5, 6\]"),
        ("a.npz:flat", r"must be integers \[clients, n\], not int64 \[30\]; lists of unequal length fit in a .json"),
        ("a.npz:objects", "cannot be read: Object arrays cannot be loaded"),
        ("a.npz:range", r"client 3 has index 30, the data set has 30 examples \(0 to 29\)"),
        ("a.npz:negative", "client 0 has index -1, the data set has 30 examples"),
        ("a.npz:huge", "client 0 has index 9223372036854775808, the data set has 30 examples"),
        ("a.npz:none", "client 0 has no examples"),
        ("a.npz:twice", "gives index 7 to client 1 and to client 4"),
        ("a.npz:own", "gives index 12 twice to client 2"),
        ("broken.npz:even", "is no .npz archive"),
        ("damaged.npz:even", "cannot be read: "),
        ("members.json", "must map client numbers to lists, 'even' is no number; or choose .* members.json:MEMBER"),
        ("members.json:odd", "must name one of the members of members.json after the colon; there are even, ragged"),
        ("list.json:odd", "there are none: it is no object"),
        ("empty.json", "client 4 has no examples"),
        ("text.json", 'client 4 must have integers only, not "6"'),
        ("real.json", "client 4 must have integers only, not 6.0"),
        ("bool.json", "client 4 must have integers only, not true"),
        ("huge.json", "client 4 has index 1180591620717411303424, the data set has 30 examples"),
        ("flat.json", "client 0 must have a list of integers, not 1"),
        ("null.json", "client 0 must have a list of integers, not null"),
        ("number.json", "must hold a list of lists"),
        ("broken.json", "cannot be read: "),
        ("latin.json", "cannot be read: "),
    ],
)
def test_file_says_what_is_wrong_with_it(split: Path, name: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read(split, name)
    assert caught.value.key == "split_file"
    assert "\n" not in str(caught.value)


def test_file_must_be_given() -> None:
    with pytest.raises(InputError, match=r"^split_file: must be PATH.npz:ARRAY"):
        of("file").assign(LABELS, 5, None, stream(0, "partition"))


def test_file_must_agree_with_clients_and_sizes(split: Path) -> None:
    with pytest.raises(InputError, match=r"split_file = .*: holds 5 clients, not 6: set data.clients=5"):
        read(split, "list.json", clients=6)
    assert read(split, "a.npz:even", size=6).sizes().tolist() == [6] * 5
    with pytest.raises(InputError, match=r"samples_per_client = 2: client 1 of .*list.json has 1 examples"):
        read(split, "list.json", size=2)


# the arithmetic that partitions share


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(0, 20))
def test_lifted_takes_one_by_one_from_the_largest(sizes: list[int], least: int) -> None:
    if len(sizes) * least > sum(sizes):
        with pytest.raises(InputError, match="min_size"):
            lifted(np.array(sizes), least)
        return
    slow = list(sizes)
    while min(slow) < least:
        slow[slow.index(max(slow))] -= 1
        slow[slow.index(min(slow))] += 1
    fast = lifted(np.array(sizes), least)
    assert sorted(fast.tolist()) == sorted(slow)
    assert (fast <= np.maximum(sizes, least)).all()


def test_apportion_is_the_largest_remainder() -> None:
    share = np.array([[0.415, 0.325, 0.26], [0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])
    assert apportion(share, np.array([10, 3, 7])).tolist() == [[4, 3, 3], [1, 1, 1], [7, 0, 0]]


def test_small_gamma_draws_are_their_logarithms() -> None:
    # At 0.05 numpy's own draws do not underflow yet, so that their logarithms can be compared.
    for a in (0.5, 0.05):
        logs = log_dirichlet(np.full(40_000, a), stream(0, "gamma"))
        plain = np.log(stream(1, "gamma").standard_gamma(a, size=40_000))
        assert logs.mean() == pytest.approx(plain.mean(), abs=5 * plain.std() / 200 * math.sqrt(2))
        assert logs.std() == pytest.approx(plain.std(), rel=0.03)
    tiny = log_dirichlet(np.full((100, 7), 5e-324), stream(0, "gamma"))
    assert np.isfinite(tiny).all()
    assert (normalised(tiny).max(axis=1) == 1).all()
    assert normalised(tiny).sum(axis=1).tolist() == [1.0] * 100


def test_deal_gives_the_counts_with_random_examples() -> None:
    labels = balanced(3000, 3)
    want = np.array([[10, 0, 0], [500, 20, 1000], [0, 0, 0], [3, 980, 0]])
    found = deal(labels, want, stream(0, "deal"))
    assert counts_of(found, labels).tolist() == want.tolist()
    positions = np.flatnonzero(labels == 1)
    rank = np.searchsorted(positions, np.intersect1d(found.of_client(1), positions))
    assert rank.max() > 800  # of 1000: not the first ones


def test_even_sizes_differ_by_one_at_most() -> None:
    assert even_sizes(11, 4, None).tolist() == [3, 3, 3, 2]
    assert even_sizes(11, 4, 2).tolist() == [2, 2, 2, 2]


# the FedSAM paper's splits


@pytest.fixture(scope="module")
def real_data_root() -> Path:
    if REAL is None:
        pytest.skip("FEDSAM_DATA is not set")
    root = Path(REAL) / "cifar10"
    for needed in ("train.parquet", "splits/fedsam_eccv2022.npz"):
        if not (root / needed).is_file():
            pytest.skip(f"FEDSAM_DATA has no cifar10/{needed}")
    return root


PAPER = ("0.00", "0.05", "0.10", "0.20", "0.50", "1.00", "10.00", "100.00")


@pytest.mark.data
@pytest.mark.parametrize("alpha", PAPER)
def test_the_papers_splits_are_taken_as_they_are(real_data_root: Path, alpha: str) -> None:
    path = real_data_root / "splits" / "fedsam_eccv2022.npz"
    labels = np.arange(50_000) % 10
    partition = of({"name": "file", "split_file": f"{path}:alpha_{alpha}"})
    assignment = partition.assign(labels, 100, 500, stream(0, "partition"))
    conforms(assignment, 50_000, 100, 500)
    with np.load(path) as arrays:
        assert np.array_equal(assignment.index.reshape(100, 500), np.sort(arrays[f"alpha_{alpha}"], axis=1))


@pytest.mark.data
@pytest.mark.parametrize("alpha", PAPER)
def test_dirichlet_has_the_skew_of_the_papers_splits(real_data_root: Path, alpha: str) -> None:
    import pyarrow.parquet as pq

    labels = pq.read_table(real_data_root / "train.parquet", columns=["label"])["label"].to_numpy()
    with np.load(real_data_root / "splits" / "fedsam_eccv2022.npz") as arrays:
        theirs = np.stack([np.bincount(labels[part], minlength=10) for part in arrays[f"alpha_{alpha}"]])

    def skew(found_KL: np.ndarray) -> np.ndarray:
        return np.array([(found_KL > 0).sum(axis=1).mean(), (found_KL / 500).std(axis=1).mean()])

    ours = np.array([skew(counts("dirichlet", labels, 100, seed=s, alpha=float(alpha))) for s in range(40)])
    # A concentration ten times larger (the symmetric Dir(alpha, ..., alpha)) is 9 standard deviations off or more.
    assert (np.abs(skew(theirs) - ours.mean(axis=0)) < 4.5 * ours.std(axis=0) + 1e-9).all()
