"""Numbers in tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fedsam
from fedsam import InputError, Run
from fedsam.data.stored import StoredFederation
from fedsam.data.table import Table

ROWS = 24


def write(path: Path) -> dict[str, list[Any]]:
    """A table of 24 rows; its columns."""
    rng = np.random.default_rng(0)
    columns: dict[str, list[Any]] = {
        "age": rng.integers(20, 90, ROWS).tolist(),
        "dose": np.round(rng.random(ROWS), 3).tolist(),
        "same": [7] * ROWS,
        "hospital": [("north", "south", "east")[n % 3] for n in range(ROWS)],
        "split": [("train", "train", "test")[n // 8] for n in range(ROWS)],
        "target": [("ill", "well")[n % 2] for n in range(ROWS)],
    }
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        rows = zip(*columns.values(), strict=True)
        path.write_text("\n".join([";".join(columns), *(";".join(map(str, row)) for row in rows)]))
    return columns


def load(path: Path, **keys: Any) -> StoredFederation:
    given = {"file": str(path), "client_column": "hospital", "split_column": "split", "partition": "natural"}
    found = Table(**{**given, **keys}).load(0)
    assert isinstance(found, StoredFederation)
    return found


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_columns_are_inputs_but_for_those_with_names(tmp_path: Path, name: str) -> None:
    columns = write(tmp_path / name)
    federation = load(tmp_path / name)
    spec = federation.spec
    assert (spec.classes, spec.shape, spec.names, spec.groups) == (2, (3,), ("ill", "well"), ("east", "north", "south"))
    raw = np.array([columns["age"], columns["dose"]]).T[:16]
    assert np.allclose(federation.train.inputs[:, :2], (raw - raw.mean(axis=0)) / raw.std(axis=0), atol=1e-6)
    assert not federation.train.inputs[:, 2].any()  # all are the same
    last = np.array([columns["age"], columns["dose"]]).T[16:]
    assert np.allclose(federation.test.inputs[:, :2], (last - raw.mean(axis=0)) / raw.std(axis=0), atol=1e-6)
    assert federation.train.targets.tolist() == [n % 2 for n in range(16)]
    (index,) = federation.examples([1])[1]
    assert index.tolist() == [n for n in range(16) if n % 3 == 0]
    some = load(tmp_path / name, inputs="dose", standardise=False)
    assert some.train.inputs[:, 0].tolist() == np.array(columns["dose"][:16], dtype=np.float32).tolist()


def test_without_a_split_a_quarter_is_for_test_whatever_the_seed(tmp_path: Path) -> None:
    write(tmp_path / "a.csv")
    first, second = (
        Table(file=str(tmp_path / "a.csv"), inputs="age,dose", partition="iid", clients=2).load(seed) for seed in (0, 1)
    )
    assert len(first.test) == 6
    assert np.array_equal(first.test.inputs, second.test.inputs)


def test_shards_are_one_table_and_regression_is_learnt(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    whole = pa.table(write(tmp_path / "a.parquet"))
    for n in range(3):
        pq.write_table(whole.slice(8 * n, 8), folder / f"part-{n}.parquet")
    one, several = load(tmp_path / "a.parquet"), load(folder)
    assert np.array_equal(one.train.inputs, several.train.inputs)
    assert one.groups_of(range(3)) == several.groups_of(range(3))
    data = Table(
        file=str(folder), target="dose", inputs="age", client_column="hospital", partition="natural", unseen="east"
    )
    result = fedsam.simulate(Run(data=data, task="regression", cohort=2, rounds=1))
    assert {"test_rmse", "unseen_rmse"} <= set(result.metrics[-1])


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("age;dose", "years;dose", "has no column 'age'; it has years, dose"),
        ("7;north", "seven;north", "has 'seven' as 'same' in row 2, must be a number"),
        ("7;south", "nan;south", "has 'nan' as 'same' in row 3, must be a number"),
        ("7;south", "7;", "has an empty 'hospital' in row 3"),
    ],
)
def test_a_bad_cell_is_named(tmp_path: Path, before: str, after: str, told: str) -> None:
    path = tmp_path / "a.csv"
    write(path)
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(InputError, match=r"a\.csv") as error:
        load(path, inputs="age,dose,same")
    assert told in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        load(tmp_path / "none.csv")
    with pytest.raises(InputError, match="must name a CSV or Parquet file"):
        load(Path(), file="")
