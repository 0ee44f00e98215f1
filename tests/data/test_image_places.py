"""Where images lie: Parquet shards, and folders as other systems and people leave them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsam import InputError
from fedsam.cli.settings import parse
from fedsam.data.base import Split
from fedsam.data.cifar10 import CIFAR10
from fedsam.data.imagefolder import ImageFolder
from fedsam.data.images import parquet_files
from fedsam.data.parquet import Parquet
from tests.support.image_files import encoded, folders, picture, write

LABELS = [1, 0, 1, 2, 0, 1, 2]


@pytest.fixture(autouse=True)
def anew() -> None:
    """What is said once in a process can be said again."""
    parquet_files.note.cache_clear()


def same(one: Split, other: Split) -> None:
    np.testing.assert_array_equal(one.inputs, other.inputs)
    np.testing.assert_array_equal(one.targets, other.targets)


# Parquet


def sharded(folder: Path) -> Path:
    """Seven images as one file, and in three shards beside a test shard."""
    images = [picture(seed) for seed in range(7)]
    write(folder / "whole.parquet", images, LABELS)
    for number, some in enumerate((slice(0, 3), slice(3, 4), slice(4, 7))):
        write(folder / "data" / f"train-0000{number}-of-00003.parquet", images[some], LABELS[some])
    write(folder / "data" / "test-00000-of-00001.parquet", images[:2], LABELS[:2])
    (folder / "data" / "._train-00000-of-00003.parquet").write_bytes(b"\0\5\26\7")
    (folder / "data" / "README.md").write_text("of the hub", encoding="utf-8")
    return folder


SHARDS = "train-00000-of-00003.parquet,data/train-00001-of-00003.parquet, data/train-00002-of-00003.parquet"


@pytest.mark.parametrize(
    "given", ["data", "data/train-*.parquet", "data/train-0000?-of-*", f"data/{SHARDS}", "**/train*"]
)
def test_shards_are_one_data_set_in_the_order_of_their_names(
    given: str, inside: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sharded(inside)
    for test in ("data", "data/test-00000-of-00001.parquet"):
        whole = Parquet(train_file="whole.parquet", test_file=test).read()
        spec, train, tested = Parquet(train_file=given, test_file=test).read()
        assert spec == whole[0]
        same(train, whole[1])
        same(tested, whole[2])
    assert not caplog.messages


def test_a_list_in_a_file_of_settings_is_a_list_of_files(inside: Path) -> None:
    sharded(inside)
    listed = ", ".join(f'"{name.strip()}"' for name in f"data/{SHARDS}".split(","))
    Path("a.toml").write_text(f"data.train_file = [{listed}]\n", encoding="utf-8")
    files = parse(["a.toml"])["data.train_file"]
    same(Parquet(train_file=files, test_file="data").read()[1], Parquet(train_file="data", test_file="data").read()[1])


def test_a_folder_without_names_of_parts_is_taken_whole(inside: Path) -> None:
    sharded(inside)
    Path("plain").mkdir()
    for number, file in enumerate(sorted(Path("data").glob("train*"))):
        shutil.copy(file, f"plain/{number:05}.parquet")
    Path("data/test-00000-of-00001.parquet").rename("data/validation.parquet")
    same(
        Parquet(train_file="plain", test_file="data").read()[1], Parquet(train_file="data", test_file="data").read()[1]
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("data/train-00001-of-00003.parquet", "train: only 1 of 3 shards are read; 3 lie in data"),
        ("data/train-0000[12]*", "train: only 2 of 3 shards are read; 3 lie in data"),
        ("alone", "train: only 1 of 3 shards are read; the others are not beside it"),
        ("data/test-00000-of-00001.parquet", "data/test-00000-of-00001.parquet is trained and tested on"),
    ],
)
def test_shards_that_are_left_out_are_remarked_on(
    given: str, says: str, inside: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sharded(inside)
    Path("alone").mkdir()
    shutil.copy("data/train-00001-of-00003.parquet", "alone")
    for _ in range(2):
        parquet_files.shards(given, "train_file", "train")
    try:
        Parquet(train_file=given, test_file="data").read()
    except InputError as error:
        assert "labels must be 0 to L - 1" in str(error)  # noqa: PT017
    assert caplog.messages == [says]


def test_cifar10_may_lie_in_shards(tmp_path: Path) -> None:
    images = [picture(seed, (32, 32)) for seed in range(4)]
    whole, parts, folder = tmp_path / "a/cifar10", tmp_path / "b/cifar10", tmp_path / "c/cifar10"
    write(whole / "train.parquet", images, [1, 0, 1, 2])
    for at in range(2):
        some = slice(2 * at, 2 * at + 2)
        write(parts / f"train-0000{at}-of-00002.parquet", images[some], [1, 0, 1, 2][some])
        write(folder / f"train.parquet/part-{at}.parquet", images[some], [1, 0, 1, 2][some])
    for place in (whole, parts, folder):
        write(place / "test.parquet", images[:1], [0])
    read = [CIFAR10(root=str(place.parent)).read()[1] for place in (whole, parts, folder)]
    same(read[1], read[0])
    same(read[2], read[0])


def columns(folder: Path) -> str:
    write(folder / "b.parquet", [picture(0)], [0], plain=True)
    return f"{folder / 'a.parquet'},{folder / 'b.parquet'}"


def labels(folder: Path) -> str:
    write(folder / "b.parquet", [picture(0)], ["cat"])
    return f"{folder / 'a.parquet'},{folder / 'b.parquet'}"


def damaged(folder: Path) -> str:
    write(folder / "b.parquet", [picture(0), b"GIF89a?"], [0, 1])
    return f"{folder / 'a.parquet'},{folder / 'b.parquet'}"


def only_tests(folder: Path) -> str:
    (folder / "test-0.parquet").write_bytes(b"")
    (folder / "a.parquet").rename(folder / "val.parquet")
    return str(folder)


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe.parquet")
    return str(folder / "pipe.parquet")


def loop(folder: Path) -> str:
    (folder / "loop.parquet").symlink_to("loop.parquet")
    return str(folder / "loop.parquet")


def empty(folder: Path) -> str:
    (folder / "empty").mkdir()
    return str(folder / "empty")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (columns, r"b.parquet has the columns img \(binary\) and label \(int64\), a.parquet has img \(struct<"),
        (labels, r"b.parquet column 'label' is string, must be a whole number|b.parquet has the columns"),
        (damaged, r"the image in row 1 of b.parquet is no image that can be used \("),
        (only_tests, "by their names none of its files is for train: test-0.parquet, val.parquet"),
        (lambda folder: f"{folder}/*.arrow", "there is no such file"),
        (lambda folder: f"{folder}/a.parquet,{folder}/b.parquet", "there is no such file"),
        (lambda folder: f"{folder}/a.parquet,{folder}/*", "names a.parquet twice"),
        (lambda folder: f"{folder}/{'x' * 300}", "is too long: a path has"),
        (lambda folder: "~nobody-of-this-name/a.parquet", "there is no home directory for ~nobody-of-this-name"),
        (empty, "there are no .parquet files in this folder"),
        (pipe, "it is a named pipe, not a file"),
        (loop, "there is no such file"),
    ],
)
def test_unusable_shards_get_one_line(make: Callable[[Path], str], says: str, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [picture(0), picture(1)], [0, 1])
    with pytest.raises(InputError, match=f"^train_file = .*: {says}") as caught:
        Parquet(train_file=make(tmp_path), test_file=str(tmp_path / "a.parquet")).read()
    assert "\n" not in str(caught.value)


def test_grey_beside_colour_becomes_colour(tmp_path: Path) -> None:
    colour, grey = [picture(0), picture(1)], [picture(seed, mode="L") for seed in (2, 3)]
    files = {name: write(tmp_path / name, images, [0, 1]) for name, images in (("c", colour), ("g", grey))}
    root = {"c": colour, "g": grey}
    for one, other in (("c", "g"), ("g", "c")):
        folder = folders(
            tmp_path / "folders" / one,
            train_a_1=root[one][0],
            train_b_1=root[one][1],
            test_a_1=root[other][0],
            test_b_1=root[other][1],
        )
        for data in (Parquet(train_file=files[one], test_file=files[other]), ImageFolder(root=str(folder))):
            spec, train, test = data.read()
            assert spec.shape == (6, 5, 3)
            assert len(spec.mean) == 3
            for split, images in ((train, root[one]), (test, root[other])):
                expected = np.stack([i if i.ndim == 3 else np.repeat(i[..., None], 3, axis=2) for i in images])
                np.testing.assert_array_equal(split.inputs, expected)


# folders


def tree(root: Path) -> Path:
    return folders(root, train_cat_1=picture(0), train_cat_2=picture(1), train_dog_1=picture(2), test_dog_1=picture(3))


def read(root: Path) -> tuple[Split, Split]:
    return ImageFolder(root=str(root)).read()[1:]


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_without_test_the_validation_images_are_taken(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = read(tree(tmp_path / "a"))
    root = tree(tmp_path / "b")
    (root / "test").rename(root / name)
    (root / "test").write_text("no folder", encoding="utf-8")
    for one, other in zip(read(root), expected, strict=True):
        same(one, other)
    assert caplog.messages == [f"{root}: there is no test/ in it; the test images are those of {name}/"]


def test_what_systems_leave_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = read(tree(tmp_path / "a"))
    root = tree(tmp_path / "b")
    for name in (
        "train/cat/._1.png",
        "test/._x.png",
        "train/.DS_Store",
        "train/dog/Thumbs.db",
        "train/cat/desktop.ini",
    ):
        (root / name).write_bytes(b"\0\5\26\7")
    folders(root, **{"train_.thumbs_1": picture(9), "train_cat_.old_1": picture(9)})
    for one, other in zip(read(root), expected, strict=True):
        same(one, other)
    assert not caplog.messages


def test_what_is_no_image_is_said_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tree(tmp_path)
    (root / "train/cat/3.jfif").write_bytes(encoded(picture(9), "JPEG"))
    (root / "train/dog/boxes.txt").write_text("1 2 3 4", encoding="utf-8")
    assert len(read(root)[0]) == 3
    assert caplog.messages == [f"{root}/train/cat/3.jfif and 1 more left out: no image by its ending"]


def test_images_in_folders_below_come_as_torchvision_has_them(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder as Theirs

    root = tree(tmp_path / "a")
    folders(root, train_cat_images_2=picture(4), train_cat_images_0=picture(5), train_cat_a_b_1=picture(6))
    linked = folders(tmp_path / "b", x_9=picture(7))
    (root / "train/dog/link").symlink_to(linked / "x")
    train, _ = read(root)
    theirs = Theirs(str(root / "train"))
    assert train.targets.tolist() == theirs.targets
    np.testing.assert_array_equal(train.inputs, [np.asarray(image) for image, _ in theirs])


def broken(path: Path) -> None:
    path.symlink_to("nowhere.png")


def itself(path: Path) -> None:
    path.symlink_to(path.name)


def back(path: Path) -> None:
    path.with_suffix("").symlink_to(path.parent.parent)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (broken, "train/cat/9.png is a link to nowhere.png, which leads nowhere"),
        (itself, "train/cat/9.png is a link to 9.png, which leads nowhere"),
        (
            back,
            r"train/cat/9(/\w+)* is a link that leads back to a folder it is in",
        ),
        (os.mkfifo, "train/cat/9.png is a named pipe, not an image"),
        (device, "train/cat/9.png is a device, not an image"),
        (lambda path: path.write_bytes(b""), r"train/cat/9.png is no image that can be used \("),
    ],
)
@pytest.mark.parametrize("part", ["train", "test"])
def test_an_image_that_is_none_is_named(part: str, make: Callable[[Path], Any], says: str, tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / part / "cat").mkdir(exist_ok=True)
    make(root / part / "cat/9.png")
    with pytest.raises(InputError, match=f"^root = .*: ({says})".replace("train/", f"{part}/")) as caught:
        read(root)
    assert "\n" not in str(caught.value)


def test_a_link_that_leads_to_itself_as_a_class_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "train/loop").symlink_to("loop")
    assert len(read(root)[0]) == 3, "it is no folder, so no class"
    (root / "train/up").symlink_to(root / "train")
    with pytest.raises(InputError, match=r"train/up(/\w+)* is a link that leads back to a folder it is in"):
        read(root)


def test_images_that_are_not_divided_into_classes_are_said(tmp_path: Path) -> None:
    root = folders(tmp_path, train_cat_1=picture(0), test_images_1=picture(1))
    with pytest.raises(InputError, match=r"test/images/ is not divided into classes; move its images to test/CLASS/"):
        read(root)


def test_images_that_no_memory_holds_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsam.data.images.decode.free_memory", lambda: 1000.0)
    root = tree(tmp_path)
    (root / "train/cat/1.png").write_bytes(b"never opened")
    with pytest.raises(InputError, match=r"3 images of 64 x 64 need 12 KiB, of .* of memory that are free; data"):
        ImageFolder(root=str(root), size=64).read()


def test_a_large_image_is_read_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    assert len(read(tree(tmp_path / "a"))[0]) == 3, "Pillow warns, and with warnings as errors would raise"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match=r"train/cat/1.png is no image that can be used \(Image size \(30 pixels\)"):
        read(tree(tmp_path / "b"))
