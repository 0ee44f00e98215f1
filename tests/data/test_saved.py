"""Data sets that the `datasets` library saved."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fedsam
from fedsam import InputError, Run
from fedsam.data.images.spec import ImageSpec
from fedsam.data.saved import Saved
from fedsam.data.stored import StoredFederation

datasets = pytest.importorskip("datasets")

BYTES = np.random.default_rng(0).integers(0, 256, (10, 4, 5, 3), dtype=np.uint8)


def save(root: Path, columns: dict[str, list[Any]], test: int = 3, **features: Any) -> str:
    """The last examples are for test."""
    kinds = datasets.Features(features) if features else None
    parts = {
        "train": {name: column[:-test] for name, column in columns.items()},
        "test": {name: column[-test:] for name, column in columns.items()},
    }
    made = {name: datasets.Dataset.from_dict(part, features=kinds) for name, part in parts.items()}
    datasets.DatasetDict(made).save_to_disk(root / "saved")
    return str(root / "saved")


def load(folder: str, **keys: Any) -> StoredFederation:
    found = Saved(folder=folder, **{"partition": "iid", "clients": 2, **keys}).load(0)
    assert isinstance(found, StoredFederation)
    return found


def photographs(root: Path) -> str:
    labels = datasets.ClassLabel(names=["cat", "dog", "owl"])
    columns: dict[str, list[Any]] = {
        "image": [Image.fromarray(image) for image in BYTES],
        "label": [n % 2 for n in range(10)],
        "who": [f"user{n % 3}" for n in range(10)],
    }
    return save(root, columns, image=datasets.Image(), label=labels, who=datasets.Value("string"))


def test_images_with_names_of_classes_and_users(tmp_path: Path) -> None:
    federation = load(photographs(tmp_path), client_column="who", partition="natural", clients=100)
    spec = federation.spec
    assert isinstance(spec, ImageSpec)
    assert (spec.classes, spec.names) == (3, ("cat", "dog", "owl"))
    assert federation.groups_of(range(3)) == [["user0"], ["user1"], ["user2"]]
    assert np.array_equal(federation.train.inputs, BYTES[:7])
    assert np.array_equal(federation.test.inputs, BYTES[7:])
    small = load(str(tmp_path / "saved"), size=2)
    with Image.fromarray(BYTES[0]) as image:
        assert np.array_equal(small.train.inputs[0], np.asarray(image.resize((2, 2), Image.Resampling.BILINEAR)))


def test_texts_are_tokens(tmp_path: Path) -> None:
    texts = ["so good", "so so", "bad bad film that never ends", "good"] + ["a good one", "strange"] * 3
    folder = save(tmp_path, {"text": texts, "label": [["yes", "no"][n % 2] for n in range(10)]})
    data = Saved(folder=folder, input_column="text", length=3, partition="iid", clients=2)
    federation = data.load(0)
    assert isinstance(federation, StoredFederation)
    assert (federation.spec.names, federation.spec.shape) == (("no", "yes"), (3,))
    words = sorted({word for text in texts[:7] for word in text.split()})
    place = {word: at for at, word in enumerate(words, 1)}
    assert federation.spec.vocabulary == len(words) + 2
    assert federation.train.inputs[2].tolist() == [place["bad"], place["bad"], place["film"]]
    assert federation.train.inputs[3].tolist() == [place["good"], 0, 0]
    model = {"name": "lstm", "width": 8, "embedding": 4}
    assert "test_accuracy" in fedsam.simulate(Run(data=data, model=model, cohort=2, rounds=1)).metrics[-1]


def test_lists_of_numbers_for_regression(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((10, 4)).round(3)
    folder = save(tmp_path, {"x": x.tolist(), "y": x.sum(axis=1).tolist()})
    data = Saved(folder=folder, input_column="x", label_column="y", partition="iid", clients=2)
    federation = data.load(0)
    assert isinstance(federation, StoredFederation)
    assert np.array_equal(federation.train.inputs, x[:7].astype(np.float32))
    last = fedsam.simulate(Run(data=data, task="regression", cohort=2, rounds=1)).metrics[-1]
    assert "test_rmse" in last


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder = photographs(tmp_path)
    for keys, told in (
        ({"input_column": "img"}, "has no column 'img' in 'train'; it has image, label, who"),
        ({"test_split": "validation"}, "has no split 'validation'; it has train, test"),
        ({"folder": str(tmp_path)}, "has no dataset_dict.json in it"),
        ({"folder": str(tmp_path / "none")}, "there is no such folder"),
        ({"folder": ""}, "must name a folder"),
    ):
        with pytest.raises(InputError) as error:
            load(**{"folder": folder, **keys})
        assert told in str(error.value)
    next((tmp_path / "saved" / "train").glob("*.arrow")).write_bytes(b"no arrow")
    with pytest.raises(InputError, match="cannot be read"):
        load(folder)


def test_images_of_different_sizes_need_one(tmp_path: Path) -> None:
    images = [Image.fromarray(BYTES[0, : 2 + n % 2]) for n in range(10)]
    folder = save(tmp_path, {"image": images, "label": [n % 2 for n in range(10)]})
    with pytest.raises(InputError, match=r"of different shapes: .*; data\.size=N resizes images"):
        load(folder)
    assert load(folder, size=3).spec.shape == (3, 3, 3)


def test_folder_in_the_name_and_parquet_of_the_hub(tmp_path: Path) -> None:
    """Shards in `data/`, a column called `img`, names of classes from the file's own metadata."""
    names = datasets.Features(img=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]))
    (tmp_path / "hub/data").mkdir(parents=True)
    for part, cut in {
        "train-00000-of-00002": (0, 4),
        "train-00001-of-00002": (4, 7),
        "test-00000-of-00001": (7, 10),
    }.items():
        columns = {"img": [Image.fromarray(image) for image in BYTES[slice(*cut)]], "label": [1] * (cut[1] - cut[0])}
        datasets.Dataset.from_dict(columns, features=names).to_parquet(tmp_path / f"hub/data/{part}.parquet")
    data = Run.from_keys(
        {"data.name": f"hf:{tmp_path / 'hub'}", "data.partition": "iid", "data.clients": 2, "cohort": 2}
    ).data
    assert data.name == f"hf:{tmp_path / 'hub'}"
    federation = pickle.loads(pickle.dumps(data)).load(0)
    assert federation.spec.names == ("cat", "dog")
    assert np.array_equal(federation.train.inputs, BYTES[:7])
    assert np.array_equal(federation.test.inputs, BYTES[7:])
    saved = Run.from_keys(
        {"data.name": f"hf:{photographs(tmp_path)}", "data.partition": "iid", "data.clients": 2, "cohort": 2}
    ).data
    assert saved.load(0).spec.names == ("cat", "dog", "owl")
    with pytest.raises(InputError, match=r"has no dataset_dict.json in it, .* no SPLIT-"):
        load(str(tmp_path))
