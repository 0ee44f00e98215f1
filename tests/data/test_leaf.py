"""Users and their examples as LEAF has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedsam
from fedsam import InputError, Run
from fedsam.data.images.spec import ImageSpec
from fedsam.data.leaf import Leaf
from fedsam.data.stored import StoredFederation
from tests.support.image_files import write_image

USERS = {"f_b": 4, "f_c": 3, "f_a": 5}


def pixels(user: str, n: int) -> np.ndarray:
    return np.random.default_rng([ord(user[-1]), n]).integers(0, 256, 12)


def write(root: Path, x: Any = None, y: Any = None) -> None:
    """Two files of training users, one of the same users for test, of images of 3 x 4."""
    x = x or (lambda user, n: (pixels(user, n) / 255).tolist())
    y = y or (lambda n: n % 3)

    def of(users: dict[str, range]) -> str:
        data = {user: {"x": [x(user, n) for n in some], "y": [y(n) for n in some]} for user, some in users.items()}
        return json.dumps({"users": list(users), "num_samples": [len(s) for s in users.values()], "user_data": data})

    for folder in ("train", "test"):
        (root / folder).mkdir()
    (root / "train/0.json").write_text(of({user: range(USERS[user]) for user in ("f_b", "f_c")}))
    (root / "train/1.json").write_text(of({"f_a": range(5)}))
    (root / "test/0.json").write_text(of({"f_a": range(10, 12), "f_c": range(10, 11), "f_b": range(0)}))


def load(root: Path, **keys: Any) -> StoredFederation:
    found = Leaf(root=str(root), **{"pixel_size": "3x4", **keys}).load(0)
    assert isinstance(found, StoredFederation)
    return found


def refused(root: Path, **keys: Any) -> str:
    with pytest.raises(InputError) as error:
        load(root, **keys)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_user_is_a_client_with_its_images(tmp_path: Path) -> None:
    write(tmp_path)
    federation = load(tmp_path)
    spec = federation.spec
    assert isinstance(spec, ImageSpec)
    assert (spec.classes, spec.shape, spec.groups) == (3, (3, 4, 1), ("f_a", "f_b", "f_c"))
    assert federation.clients == 3
    store, index = federation.examples(range(3))
    for user, own in zip(spec.groups, index, strict=True):
        expected = [pixels(user, n).reshape(3, 4, 1) for n in range(USERS[user])]
        assert np.array_equal(store.inputs[own], np.stack(expected))
        assert store.targets[own].tolist() == [n % 3 for n in range(USERS[user])]
    assert federation.test.groups is not None
    assert federation.test.groups.tolist() == [0, 0, 2]
    assert np.array_equal(federation.test.inputs[2].ravel(), pixels("f_c", 10))


def test_it_is_trained_on_without_some_users(tmp_path: Path) -> None:
    write(tmp_path)
    data = Leaf(root=str(tmp_path), pixel_size="3x4", unseen="f_a")
    federation = data.load(0)
    assert [len(split) for split in (federation.test, federation.further["unseen"])] == [1, 5 + 2]
    last = fedsam.simulate(Run(data=data, cohort=2, rounds=1)).metrics[-1]
    assert {"test_accuracy", "unseen_accuracy"} <= set(last)


def test_lists_of_another_length_are_numbers(tmp_path: Path) -> None:
    write(tmp_path, x=lambda user, n: (pixels(user, n) - 7.5).tolist(), y=lambda n: ("no", "yes")[n % 2])
    federation = load(tmp_path, pixel_size="28x28")
    assert (federation.spec.shape, federation.spec.names) == ((12,), ("no", "yes"))
    assert federation.train.inputs[0].tolist() == (pixels("f_b", 0) - 7.5).tolist()


def test_texts_name_images(tmp_path: Path) -> None:
    write(tmp_path, x=lambda user, n: f"{user}{n}.png", y=lambda n: n % 2)
    images = {
        f"{user}{n}": write_image(tmp_path / f"raw/{user}{n}.png", 20 * ord(user[-1]) + n)
        for user in USERS
        for n in range(12)
    }
    federation = load(tmp_path, image_folder="raw")
    store, (index,) = federation.examples([1])
    assert np.array_equal(store.inputs[index], np.stack([images[f"f_b{n}"] for n in range(4)]))
    assert federation.spec.classes == 2
    assert np.array_equal(federation.test.inputs[2], images["f_c10"])
    (tmp_path / "raw/f_c1.png").unlink()
    assert "raw/f_c1.png is not there" in refused(tmp_path, image_folder="raw")


def change(path: Path, **changes: Any) -> None:
    found = json.loads(path.read_text())
    for name, value in changes.items():
        (found if name in found else found["user_data"])[name] = value
    path.write_text(json.dumps(found))


X = [0.5] * 12


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"f_c": {"x": [], "y": []}, "num_samples": [4, 0]}, "train/0.json: user 'f_c' has no examples"),
        ({"f_c": {"x": [X]}}, "train/0.json: user 'f_c' has no x and y"),
        ({"f_c": {"x": [X], "y": [0]}}, "user 'f_c' has 1 x and 1 y, and num_samples says 3"),
        ({"f_c": {"x": [X, X, X[1:]], "y": [0, 1, 0]}}, "user 'f_c' has an x that is no list of numbers"),
        ({"f_c": {"x": [X[1:]] * 3, "y": [0, 1, 0]}}, "user 'f_c' has an x of 11 numbers, others have 12"),
        ({"f_c": {"x": [X, "a", X], "y": [0, 1, 0]}}, "has an x of type list, str"),
        ({"f_c": {"x": [[2.0] * 12] * 3, "y": [0, 1, 0]}}, "user 'f_c' has an x with pixels from 2 to 2"),
        ({"num_samples": [4]}, "has 2 users and 1 num_samples"),
        ({"user_data": 3}, "must be an object with users"),
    ],
)
def test_a_bad_user_is_named(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    write(tmp_path)
    change(tmp_path / "train/0.json", **changes)
    assert told in refused(tmp_path)


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    whole = (tmp_path / "train/1.json").read_bytes()
    (tmp_path / "train/1.json").write_bytes(whole[:40])
    assert "train/1.json: " in refused(tmp_path)
    (tmp_path / "train/1.json").write_bytes(whole.replace(b"f_a", b"f\xff\xfea"))
    assert "train/1.json: byte 0xff in line 1, column 14 is not UTF-8" in refused(tmp_path)
    (tmp_path / "test/0.json").unlink()
    (tmp_path / "train/1.json").write_bytes(whole)
    assert "there is no test/*.json" in refused(tmp_path)
