"""Partitions from files, the arithmetic that partitions share, and the FedSAM paper's splits."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsam.data.partition.base import (
    Assignment,
    apportion,
    deal,
    even_sizes,
    lifted,
    log_dirichlet,
    normalised,
)
from fedsam.errors import InputError
from fedsam.rng import stream
from tests.support.partitions import REAL, balanced, conforms, counts, counts_of, of

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
        (
            "a.pkl",
            "must be PATH.npz:ARRAY, PATH.json or PATH.json:MEMBER, PATH.csv or PATH.txt; pickles are never read",
        ),
        ("a.npz", "must name one of the arrays of a.npz after a colon: even, small, range"),
        ("a.npz:odd", "must name one of the arrays of a.npz after a colon: even, small, range"),
        ("a.npz:real", r"must be integers \[clients, n\], not float64 \[5, 6\]"),
        ("a.npz:flat", r"must be integers \[clients, n\], not int64 \[30\]; lists of unequal length fit in a .json"),
        ("a.npz:objects", "cannot be read: the array 'objects' is a pickle, which could run code"),
        ("a.npz:range", r"client 3 has index 30, the data set has 30 examples \(0 to 29\)"),
        ("a.npz:negative", "client 0 has index -1, the data set has 30 examples"),
        ("a.npz:huge", "client 0 has index 9223372036854775808, the data set has 30 examples"),
        ("a.npz:none", "no client has an example"),
        ("a.npz:twice", "gives index 7 to client 1 and to client 4"),
        ("a.npz:own", "gives index 12 twice to client 2"),
        ("broken.npz:even", "is no .npz archive"),
        ("damaged.npz:even", "cannot be read: "),
        ("members.json", "must map client numbers to lists, 'even' is no number; or choose .* members.json:MEMBER"),
        ("members.json:odd", "must name one of the members of members.json after the colon; there are even, ragged"),
        ("list.json:odd", "there are none: it is no object"),
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
