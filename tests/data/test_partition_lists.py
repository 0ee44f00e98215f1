"""The forms of index lists beside those of the FedSAM authors, and what must not get lost in any of them."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsam import InputError, Run, simulate
from fedsam.data.partition.base import Assignment
from fedsam.rng import stream
from tests.support.partitions import of

RAGGED = [[1, 5], [0], [2, 3, 29], [], [10]]
LABELS = np.arange(30) % 3
FEDML = "{\n0: [\n1, 5\n]\n1: [\n0\n],\n2: [29, 3, 2,]\n3: []\n4: [10]\n}\n"
TABLE = "1,0\n5,0\n\n0,1\n29,2\n2,2\n3,2\n10,4\n"


def read(path: Path | str, clients: int = 5) -> Assignment:
    partition = of({"name": "file", "split_file": str(path)})
    return partition.assign(LABELS, clients, None, stream(0, "partition"))


def parts(found: Assignment) -> list[list[int]]:
    return [found.of_client(k).tolist() for k in range(found.clients)]


def archive(path: Path, names: list[str], more: dict[str, Any] | None = None) -> Path:
    arrays: dict[str, Any] = {name: np.array(part) for name, part in zip(names, RAGGED, strict=True)}
    np.savez(path, **arrays, **(more or {}))
    return path


def test_a_client_without_examples_is_a_client(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(RAGGED), encoding="utf-8")
    assert parts(read(tmp_path / "a.json")) == RAGGED
    (tmp_path / "b.json").write_text("[[], [], []]", encoding="utf-8")
    with pytest.raises(InputError, match=r"b.json: no client has an example$"):
        read(tmp_path / "b.json", 3)


def test_a_client_without_examples_is_never_trained(tmp_path: Path) -> None:
    lists = [list(range(10)), [], list(range(10, 25)), []]
    (tmp_path / "a.json").write_text(json.dumps(lists), encoding="utf-8")
    keys = {"data.partition": "file", "data.split_file": str(tmp_path / "a.json"), "data.clients": 4, "cohort": 4}
    result = simulate(Run.from_keys({**keys, "rounds": 2, "evaluate_every": 1, "data.local_test": 0.2}))
    assert [record["clients"] for record in result.metrics] == [[0, 2], [0, 2]]


@pytest.mark.parametrize("form", ["{}", "client_{}", "arr-{}", "{:03}"])
def test_one_array_for_each_client(tmp_path: Path, form: str) -> None:
    order = [10, 11, 9, 8, 12]  # by number, not by text or place
    path = archive(tmp_path / "a.NPZ.npz", [form.format(number) for number in order])
    assert parts(read(path)) == [RAGGED[order.index(number)] for number in sorted(order)]


def test_arrays_of_several_kinds_are_told_apart_by_how_they_begin(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", [f"train_{k}" for k in range(5)], {"test_0": np.array([4])})
    assert parts(read(f"{path}:train_")) == RAGGED
    with pytest.raises(InputError, match=r"must name one of the arrays of a.npz after a colon: train_0, train_1"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", TABLE),
        ("a.csv", TABLE.replace(",", ";")),
        ("a.csv", "image_id,class,user_id\n" + "\n".join(row.replace(",", ",cat,") for row in TABLE.split() if row)),
        ("a.csv", "Client\tIndex\n" + "\n".join("\t".join(row.split(",")[::-1]) for row in TABLE.split())),
        ("net_dataidx_map.txt", FEDML.replace("3: []\n", "")),
        ("a.json", "\ufeff" + json.dumps({str(k): part for k, part in enumerate(RAGGED) if part})),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_forms_of_text(tmp_path: Path, name: str, content: str, packed: bool) -> None:
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    assert parts(read(path, 4)) == [part for part in RAGGED if part]


def test_a_text_may_have_clients_without_examples(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(FEDML, encoding="utf-8")
    assert parts(read(tmp_path / "a.txt")) == RAGGED


def claiming(path: Path, entries: int) -> None:
    """An archive whose array says that it has more entries than it has."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<i8", "fortran_order": False, "shape": (5, entries)})
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", head.getvalue() + bytes(80))


def twice(path: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.array([1, 2]))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("0.npy", content.getvalue())
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("0.npy", content.getvalue())


WRONG: dict[str, tuple[str, Any, str]] = {
    "a key twice": ("a.json", '{"0": [1], "1": [2], "0": [3]}', "has '0' twice; a client or a member would be lost"),
    "a number twice": ("a.json", '{"0": [1], "00": [2]}', "has client 0 twice, as '0' and '00'"),
    "a key twice in a member": ("a.json:m", '{"m": {"3": [1], "3": [2]}}', "has '3' twice"),
    "a member twice": ("a.json:m", '{"m": [[1]], "m": [[2]]}', "has 'm' twice"),
    "a client twice in a text": ("a.txt", "{0: [1] 1: [2] 0: [3]}", "has '0' twice; a client"),
    "a number twice in a text": ("a.txt", "{0: [1] 00: [2]}", "has client 0 twice, as '0' and '00'"),
    "an array twice": ("a.npz", twice, "has the array '0' twice"),
    "two arrays of a number": (
        "a.npz",
        lambda path: np.savez(path, c0=np.array([1]), c00=np.array([2])),
        "has client 0 twice, as '0' and '00'",
    ),
    "floats": (
        "a.npz",
        lambda path: np.savez(path, c0=np.array([1.0])),
        r"the array 'c0' must be integers \[n\], not fl",
    ),
    "a table for a client": (
        "a.npz",
        lambda path: np.savez(path, c0=np.array([[1]])),
        r"the array 'c0' must be integers \[n\], not int64 \[1, 1\]",
    ),
    "objects": (
        "a.npz",
        lambda path: np.savez(path, c0=np.array([None], dtype=object)),
        "cannot be read: the array 'c0' is a pickle, which could run code",
    ),
    "a false head": (
        "a.npz:a",
        lambda path: claiming(path, 10**15),
        r"the array 'a' has 5e\+15 entries, the data set 30 examples",
    ),
    "a head a little false": ("a.npz:a", lambda path: claiming(path, 10**6), "cannot be read: "),
    "an image of two clients": ("a.csv", "7,0\n8,1\n7,1\n", "gives index 7 to client 0 and to client 1"),
    "a row twice": ("a.csv", "7,0\n8,1\n7,0\n", "gives index 7 twice to client 0"),
    "below": ("a.csv", "-7,0\n8,1\n", "client 0 has index -7, the data set has 30 examples"),
    "a client below": ("a.csv", "7,-1\n", "has the client -1; clients count from 0"),
    "float in a row": ("a.csv", "7,0\n8.0,1\n", "must have whole numbers in each row, not '8.0,1'"),
    "short row": ("a.csv", "7,0\n8\n", "must have whole numbers in each row, not '8'"),
    "three columns": ("a.csv", "7,0,1\n", "must have two columns, index and client, or a head that names them"),
    "strange head": ("a.csv", "path,who\na,b\n", "must have a column index and a column client, it has path, who"),
    "two columns of a kind": (
        "a.csv",
        "image,index,client\n1,1,0\n",
        "must have a column index and a column client, it h",
    ),
    "nothing": ("a.csv", "", "is empty"),
    "a member of a table": ("a.csv:m", "7,0\n", "must be without :m; of a .csv all is read"),
    "no map": ("a.txt", "0 1 2\n", "must be {client: .positions. client: .positions. ...}, such as FedML's"),
    "UTF-16": (
        "a.json",
        "[[1]]".encode("utf-16"),
        "cannot be read: its text is UTF-16 or UTF-32; save the file as UTF-8",
    ),
    "no archive": ("a.json.gz", "[[1]]", "cannot be read: Not a gzipped file"),
    "cut short": ("a.json.gz", gzip.compress(b"[[1]]" * 99)[:-9], "cannot be read: Compressed file ended before"),
    "bomb": ("a.csv.gz", gzip.compress(bytes(2**26 + 10_000)), "unpacks to more than 67 MB, which no split of this"),
}


@pytest.mark.parametrize(("name", "content", "says"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, name: str, content: Any, says: str) -> None:
    path = tmp_path / name.partition(":")[0]
    if callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=f"^split_file = .*: {says}") as caught:
        read(tmp_path / name, 2 if "," in str(content) or ":" in str(content) else 1)
    assert "\n" not in str(caught.value)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    for ending in ("pkl", "pickle", "pt"):
        with pytest.raises(InputError, match=r"PATH.csv or PATH.txt; pickles are never read, since they can run code$"):
            read(tmp_path / f"a.{ending}")
