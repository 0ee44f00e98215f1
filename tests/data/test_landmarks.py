"""Photographs of landmarks by users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedsam
from fedsam import InputError, Run
from fedsam.data.landmarks import Landmarks
from fedsam.data.stored import StoredFederation
from tests.support.image_files import write_image

TRAIN = [("12", "ab0c", 2), ("7", "ab1c", 0), ("12", "fd2c", 1), ("7", "ab3c", 1), ("103", "009e", 0)]
TEST = [("te1s", 1), ("te2s", 0)]


def write(root: Path, deep: bool = False) -> dict[str, np.ndarray]:
    """The tables and the images, which are PNG whatever their names say; the pixels by name."""
    lines = ["user_id,image_id,class", *(",".join(map(str, row)) for row in TRAIN)]
    (root / "federated_train.csv").write_text("\n".join(lines))
    (root / "test.csv").write_text("\n".join(["image_id,class", *(f"{name},{label}" for name, label in TEST)]))
    found = {}
    for n, name in enumerate([row[1] for row in TRAIN] + [row[0] for row in TEST]):
        folder = root / "images" / (f"{name[0]}/{name[1]}/{name[2]}" if deep else "")
        found[name] = write_image(root / f"{name}.png", n)
        folder.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.png").rename(folder / f"{name}.jpg")
    return found


def load(root: Path, **keys: Any) -> StoredFederation:
    found = Landmarks(root=str(root), **{"size": "", **keys}).load(0)
    assert isinstance(found, StoredFederation)
    return found


@pytest.mark.parametrize("deep", [False, True])
def test_every_user_is_a_client(tmp_path: Path, deep: bool) -> None:
    pixels = write(tmp_path, deep)
    federation = load(tmp_path)
    assert (federation.spec.classes, federation.spec.groups) == (3, ("7", "12", "103"))
    store, index = federation.examples(range(3))
    for user, own in zip(federation.spec.groups, index, strict=True):
        rows = [row for row in TRAIN if row[0] == user]
        assert np.array_equal(store.inputs[own], np.stack([pixels[row[1]] for row in rows]))
        assert store.targets[own].tolist() == [row[2] for row in rows]
    assert np.array_equal(federation.test.inputs, np.stack([pixels[name] for name, _ in TEST]))
    assert federation.test.targets.tolist() == [1, 0]


def test_it_is_trained_on_at_another_size(tmp_path: Path) -> None:
    write(tmp_path)
    for memory in (0.0, 1.0):
        data = Landmarks(root=str(tmp_path), size=6, memory=memory, disk=0.0, unseen="12,")
        result = fedsam.simulate(Run(data=data, cohort=2, rounds=1))
        assert {"test_accuracy", "unseen_accuracy"} <= set(result.metrics[-1])


def test_classes_may_have_names(tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("federated_train.csv", "test.csv"):
        text = (tmp_path / name).read_text()
        for label, word in (("0", "tower"), ("1", "arch"), ("2", "lake")):
            text = text.replace(f",{label}\n", f",{word}\n").removesuffix("\n")
            text = text[:-1] + word if text.endswith(f",{label}") else text
        (tmp_path / name).write_text(text)
    federation = load(tmp_path)
    assert federation.spec.names == ("arch", "lake", "tower")
    assert federation.train.targets.tolist() == [{"0": 2, "1": 0, "2": 1}[str(row[2])] for row in TRAIN]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("user_id", "user", "federated_train.csv has no column 'user_id'; it has user, image_id, class"),
        ("fd2c", "none", "none.jpg (row 4 of federated_train.csv) is not there"),
        ("\n7,", "\n,", "has an empty 'user_id' in row 3"),
        ("ab1c", "", "has an empty 'image_id' in row 3"),
        (",0\n", "\n", "federated_train.csv: row 3 has 2 cells, and the head 3"),
        ("ab1c", "ab\udcf6c", "federated_train.csv: byte 0xf6 in line 3, column 5 is not UTF-8"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, before: str, after: str, told: str) -> None:
    write(tmp_path)
    path = tmp_path / "federated_train.csv"
    path.write_text(path.read_text().replace(before, after, 1), encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError) as error:
        load(tmp_path)
    assert told in str(error.value)
