"""Arrays in NumPy files of MedMNIST's and of Keras's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedsam
from fedsam import InputError, Run
from fedsam.data.images.spec import ImageSpec
from fedsam.data.npz import Npz
from fedsam.data.stored import StoredFederation


def medmnist(path: Path, **changed: Any) -> str:
    """20 training, 6 validation and 8 test images of 4 x 5, in three classes."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for which, number in (("train", 20), ("val", 6), ("test", 8)):
        arrays[f"{which}_images"] = rng.integers(0, 256, (number, 4, 5), dtype=np.uint8)
        arrays[f"{which}_labels"] = (np.arange(number, dtype=np.uint8) % 3)[:, None]
    np.savez(path, **{name: array for name, array in (arrays | changed).items() if array is not None})
    return str(path)


def load(file: str, **keys: Any) -> StoredFederation:
    found = Npz(file=file, clients=4, partition="iid", **keys).load(0)
    assert isinstance(found, StoredFederation)
    return found


def test_medmnist_is_read(tmp_path: Path) -> None:
    file = medmnist(tmp_path / "a.npz")
    with np.load(file) as arrays:
        federation = load(file)
        spec, images = federation.spec, arrays["train_images"]
        assert isinstance(spec, ImageSpec)
        assert (spec.classes, spec.shape, spec.groups) == (3, (4, 5, 1), ())
        assert spec.mean == pytest.approx([images.mean() / 255])
        assert spec.std == pytest.approx([images.std() / 255])
        assert np.array_equal(federation.train.inputs[..., 0], images)
        assert np.array_equal(federation.test.inputs[..., 0], arrays["test_images"])
        assert federation.train.targets.tolist() == arrays["train_labels"][:, 0].tolist()
        both = load(file, val="train")
        assert np.array_equal(both.train.inputs[20:, ..., 0], arrays["val_images"])
        assert both.train.targets[20:].tolist() == [0, 1, 2, 0, 1, 2]


def test_it_is_trained_on_and_told_by_the_names_of_its_clients(tmp_path: Path) -> None:
    file = medmnist(
        tmp_path / "a.npz", train_clients=np.array(["b", "a", "c", "d"] * 5), test_clients=np.array(["d", "a"] * 4)
    )
    data = Npz(file=file, partition="natural", unseen="d")
    federation = data.load(0)
    assert federation.groups_of(range(3)) == [["a"], ["b"], ["c"]]
    assert [len(split) for split in (federation.test, federation.further["unseen"])] == [4, 5 + 4]
    result = fedsam.simulate(Run(data=data, cohort=2, rounds=1))
    assert {"test_accuracy", "unseen_accuracy"} <= set(result.metrics[-1])


def test_several_labels_and_fractions_are_for_their_tasks(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    several = {f"{which}_labels": rng.integers(0, 2, (n, 4)) for which, n in (("train", 20), ("test", 8))}
    file = medmnist(tmp_path / "several.npz", **several)
    run = Run(data=Npz(file=file, clients=2, partition="iid"), task="multilabel", cohort=2, rounds=1)
    assert "test_mean_average_precision" in fedsam.simulate(run).metrics[-1]
    numbers = {f"{which}_labels": rng.random(n) for which, n in (("train", 20), ("test", 8))}
    file = medmnist(tmp_path / "numbers.npz", **numbers)
    run = Run(data=Npz(file=file, clients=2, partition="iid"), task="regression", cohort=2, rounds=1)
    assert "test_rmse" in fedsam.simulate(run).metrics[-1]


def test_keras_names_and_inputs_that_are_no_images(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(12, 7)), np.arange(12) % 4
    np.savez_compressed(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    federation = load(str(tmp_path / "a.npz"))
    assert not isinstance(federation.spec, ImageSpec)
    assert (federation.spec.classes, federation.spec.shape) == (4, (7,))
    assert np.array_equal(federation.train.inputs, x.astype(np.float32))
    np.savez(tmp_path / "b.npz", x_train=(x > 0).astype(np.int32), y_train=y, x_test=(x > 0).astype(np.int32), y_test=y)
    assert load(str(tmp_path / "b.npz")).spec.dtype == "int64"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"test_labels": None}, "has no array 'test_labels'; it has train_images"),
        ({"train_labels": np.zeros(19, np.uint8)}, r"the array 'train_labels' has the shape \[19\]"),
        ({"test_images": np.zeros((8, 4, 6), np.uint8)}, r"test inputs of shape \[4, 6\]"),
        ({"train_labels": np.array([{}] * 20)}, "holds objects, which could run code"),
        ({"train_labels": np.arange(-1, 19)}, "has the label -1"),
    ],
)
def test_bad_arrays_get_one_line(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        load(medmnist(tmp_path / "a.npz", **changed))
    assert "\n" not in str(error.value)


def test_bad_files_get_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    whole = Path(medmnist(tmp_path / "whole.npz")).read_bytes()
    (tmp_path / "short.npz").write_bytes(whole[: len(whole) // 2])
    for name, told in (("none.npz", "no such file"), ("text.npz", "no .npz archive"), ("short.npz", "no .npz archive")):
        with pytest.raises(InputError, match=told):
            load(str(tmp_path / name))
    with pytest.raises(InputError, match=r"must name the .npz file"):
        load("")
