"""Images and masks that a table names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torch import nn

import fedsam
from fedsam import InputError, Run
from fedsam.data.image_table import ImageTable
from fedsam.data.images.spec import ImageSpec
from fedsam.data.stored import StoredFederation
from tests.support.image_files import write_image, write_mask

CLIENTS = ("ann", "bob", "cy")


def write(root: Path, masks: bool = False) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Twelve images, of which every fourth is for test; the pixels and the masks."""
    images, found, lines = [], [], ["split,client,file,label,mask"]
    for n in range(12):
        images.append(write_image(root / f"photos/{n}.png", n))
        if masks:
            found.append(write_mask(root / f"masks/{n}.png", n))
        split = "test" if n % 4 == 3 else "train"
        lines.append(f"{split},{CLIENTS[n % 3]},photos/{n}.png,{('dog', 'cat')[n % 2]},masks/{n}.png")
    (root / "examples.csv").write_text("\n".join(lines) + "\n")
    return images, found


def load(root: Path, **keys: Any) -> StoredFederation:
    found = ImageTable(root=str(root), **{"partition": "natural", **keys}).load(0)
    assert isinstance(found, StoredFederation)
    return found


def refused(root: Path, **keys: Any) -> str:
    with pytest.raises(InputError) as error:
        load(root, **keys)
    assert "\n" not in str(error.value)
    return str(error.value)


TRAIN = [n for n in range(12) if n % 4 != 3]


def test_images_labels_clients_and_splits_are_those_of_the_rows(tmp_path: Path) -> None:
    images, _ = write(tmp_path)
    federation = load(tmp_path)
    spec = federation.spec
    assert isinstance(spec, ImageSpec)
    assert (spec.classes, spec.shape, spec.names, spec.groups) == (2, (4, 5, 3), ("cat", "dog"), CLIENTS)
    pixels = np.stack([images[n] for n in TRAIN])
    assert np.array_equal(federation.train.inputs, pixels)
    assert np.array_equal(federation.test.inputs, np.stack([images[n] for n in (3, 7, 11)]))
    assert federation.train.targets.tolist() == [1 - n % 2 for n in TRAIN]
    assert spec.mean == pytest.approx(pixels.mean(axis=(0, 1, 2)) / 255)
    for client, name in enumerate(CLIENTS):
        (index,) = federation.examples([client])[1]
        assert [TRAIN[at] for at in index] == [n for n in TRAIN if n % 3 == client]
        assert federation.groups_of([client]) == [[name]]


def test_masks_are_read_and_trained_on(tmp_path: Path) -> None:
    _, masks = write(tmp_path, masks=True)
    federation = load(tmp_path, mask_column="mask", classes=3)
    assert federation.spec.masks
    assert np.array_equal(federation.train.targets, np.stack([masks[n] for n in TRAIN]))
    data = ImageTable(root=str(tmp_path), partition="natural", mask_column="mask", classes=3, unseen="bob")
    run = Run(data=data, model="tests.data.test_image_table:pixelwise", cohort=2, rounds=1)
    last = fedsam.simulate(run).metrics[-1]
    assert {"test_miou", "unseen_miou"} <= set(last)


def pixelwise() -> nn.Module:
    return nn.Conv2d(3, 3, 1)


def test_sizes_are_brought_together(tmp_path: Path) -> None:
    write(tmp_path, masks=True)
    write_image(tmp_path / "photos/2.png", 2, (8, 10))
    write_mask(tmp_path / "masks/2.png", 2, (8, 10))
    with Image.open(tmp_path / "photos/2.png") as image:
        small = np.asarray(image.resize((3, 2), Image.Resampling.BILINEAR))
    for size in ("2x3", [2, 3]):
        federation = load(tmp_path, mask_column="mask", classes=3, size=size)
        assert federation.spec.shape == (2, 3, 3)
        assert federation.spec.target_shape == (2, 3)
        assert np.array_equal(federation.train.inputs[2], small)
    told = refused(tmp_path)
    assert "photos/2.png (row 4 of examples.csv) is 8 x 10, others are 4 x 5; data.size=N" in told
    assert "must be N, or HEIGHTxWIDTH" in refused(tmp_path, size="2x3x4")


def test_a_grey_image_among_coloured_ones_gets_three_channels(tmp_path: Path) -> None:
    write(tmp_path)
    grey = write_image(tmp_path / "photos/1.png", 1, colour=False)
    assert np.array_equal(load(tmp_path).train.inputs[1], np.repeat(grey, 3, axis=2))
    write_image(tmp_path / "photos/0.png", 0, colour=False)
    assert "photos/2.png (row 4 of examples.csv) has colour" in refused(tmp_path)


def test_a_parquet_file_and_other_names_of_columns(tmp_path: Path) -> None:
    write(tmp_path)
    lines = [line.split(",") for line in (tmp_path / "examples.csv").read_text().splitlines()[1:]]
    names = ("part", "user", "path", "kind", "mask")
    pq.write_table(
        pa.table({name: list(cells) for name, cells in zip(names, zip(*lines, strict=True), strict=True)}),
        tmp_path / "a.parquet",
    )
    keys = {f"{key}_column": name for key, name in zip(("split", "client", "file", "label"), names, strict=False)}
    other, plain = load(tmp_path, table="a.parquet", **keys), load(tmp_path)
    assert np.array_equal(other.train.inputs, plain.train.inputs)
    assert other.groups_of(range(3)) == plain.groups_of(range(3))
    (tmp_path / "photos/5.png").unlink()
    assert "photos/5.png (row 6 of a.parquet) is not there" in refused(tmp_path, table="a.parquet", **keys)


def test_without_clients_a_partition_divides(tmp_path: Path) -> None:
    write(tmp_path)
    assert load(tmp_path, client_column="", partition="iid", clients=2).clients == 2
    with pytest.raises(InputError, match="needs groups"):
        Run(data=ImageTable(root=str(tmp_path), client_column="", partition="natural"))


def test_regression_takes_numbers(tmp_path: Path) -> None:
    write(tmp_path)
    text = (tmp_path / "examples.csv").read_text().replace("dog", "0.5").replace("cat", "-3")
    (tmp_path / "examples.csv").write_text(text)
    run = Run(data=ImageTable(root=str(tmp_path), partition="natural"), task="regression", cohort=2, rounds=1)
    assert "test_rmse" in fedsam.simulate(run).metrics[-1]


def edited(root: Path, before: str, after: str) -> None:
    path = root / "examples.csv"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("split,client,file,label", "split,client,path,label", "examples.csv has no column 'file'; it has split"),
        ("test,ann,photos/3.png", "exam,ann,photos/3.png", "has 'exam' as 'split' in row 5, must be train or test"),
        ("photos/4.png,", ",", "has an empty 'file' in row 6"),
        (",dog,masks/2.png", ",dog", "examples.csv: row 4 has 4 cells, and the head 5"),
        ("photos/6.png", "photos/none.png", "photos/none.png (row 8 of examples.csv) is not there"),
        ("photos/6.png", "examples.csv", "examples.csv (row 8 of examples.csv) is no image that can be used"),
        ("split,client", "split,split", "has two columns 'split'"),
    ],
)
def test_a_bad_table_is_refused_with_its_row(tmp_path: Path, before: str, after: str, told: str) -> None:
    write(tmp_path)
    edited(tmp_path, before, after)
    assert told in refused(tmp_path)


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "examples.csv"
    path.write_bytes(path.read_bytes().replace(b"bob", b"b\xf6b", 1))
    assert "examples.csv: byte 0xf6 in line 3, column 8 is not UTF-8" in refused(tmp_path)
    path.unlink()
    assert f"there is no file {path}" in refused(tmp_path)


def test_a_bad_mask_is_refused_with_its_row(tmp_path: Path) -> None:
    write(tmp_path, masks=True)
    keys = {"mask_column": "mask", "classes": 3}
    assert "must be given where there are masks" in refused(tmp_path, mask_column="mask")
    write_mask(tmp_path / "masks/4.png", 4, (4, 6))
    for size in ("", "2x3"):  # to resize both would move the mask against its image
        told = "masks/4.png (row 6 of examples.csv) is 4 x 6 (height x width), its image is 4 x 5"
        assert told in refused(tmp_path, size=size, **keys)
    write_mask(tmp_path / "masks/4.png", 4, classes=7)
    assert "masks/4.png (row 6 of examples.csv) has the class" in refused(tmp_path, **keys)
    write_image(tmp_path / "masks/4.png", 4)
    assert "is no mask that can be used (its mode is RGB" in refused(tmp_path, **keys)


def test_a_class_beyond_their_number_is_refused_with_its_row(tmp_path: Path) -> None:
    write(tmp_path)
    assert "has the class dog in row 2, and data.classes = 1" in refused(tmp_path, classes=1)
