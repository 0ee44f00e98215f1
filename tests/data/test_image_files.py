"""Images in Parquet files and in folders, read from files made here."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsam import InputError
from fedsam.data.imagefolder import ImageFolder
from fedsam.data.images import decode as images_module
from fedsam.data.parquet import Parquet
from tests.support.image_files import encoded, folders, picture, write


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each call of the decoder, by the number of its files."""
    calls: list[int] = []
    decode = images_module.decode

    def counted(files: Any, *rest: Any) -> np.ndarray:
        calls.append(len(files))
        return decode(files, *rest)

    monkeypatch.setattr(images_module, "decode", counted)
    return calls


def parquet(folder: Path, **keys: Any) -> Parquet:
    """A data set of three training images and one test image; `keys` replace what is given."""
    files = {"train_file": str(folder / "train.parquet"), "test_file": str(folder / "test.parquet")}
    for name, labels in (("train_file", [1, 0, 1]), ("test_file", [1])):
        if name not in keys:
            write(Path(files[name]), [picture(seed) for seed in range(len(labels))], labels)
    return Parquet(**{"clients": 1, **files, **keys})


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_parquet_gives_the_pixels_that_were_written(tmp_path: Path, plain: bool, mode: str) -> None:
    images = [picture(seed, mode=mode) for seed in range(5)]
    train = write(tmp_path / "a", images, [1, 0, 1, 2, 0], "picture", plain)
    test = write(tmp_path / "b", images[:1], [2], "picture", plain)
    spec, split, _ = Parquet(train_file=train, test_file=test, image_column="picture").read()
    expected = np.stack(images).reshape(5, 6, 5, -1)
    np.testing.assert_array_equal(split.inputs, expected)
    assert split.targets.tolist() == [1, 0, 1, 2, 0]
    assert (spec.classes, spec.shape) == (3, expected.shape[1:])
    np.testing.assert_allclose(spec.mean, (expected / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(spec.std, (expected / 255).std(axis=(0, 1, 2)), rtol=1e-12)


def test_grey_images_among_coloured_ones_become_coloured(tmp_path: Path) -> None:
    grey, colour = picture(0, mode="L"), picture(1)
    for order in ([grey, colour], [colour, grey]):
        train = write(tmp_path / "train.parquet", order, [0, 1])
        split = Parquet(train_file=train, test_file=train).read()[1]
        for image, got in zip(order, split.inputs, strict=True):
            np.testing.assert_array_equal(got, image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2))


def test_a_constant_channel_has_a_finite_normalisation(tmp_path: Path) -> None:
    train = write(tmp_path / "train.parquet", [np.full((4, 4), 7, np.uint8)] * 2, [0, 1])
    assert Parquet(train_file=train, test_file=train).read()[0].std == (1.0,)


def test_a_file_is_decoded_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counting(monkeypatch)
    data = parquet(tmp_path)
    first, second = data.load(0), data.load(1)
    assert len(calls) == 2, "training and test file"
    assert first.test is second.test
    with pytest.raises(ValueError, match="read-only"):
        first.test.targets[0] = 0
    write(tmp_path / "test.parquet", [picture(9)], [0])
    np.testing.assert_array_equal(data.load(0).test.inputs[0], picture(9))


def strange(folder: Path, **columns: Any) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), folder / "strange.parquet")
    return str(folder / "strange.parquet")


DEEP = np.full((6, 5), 40_000, dtype=np.uint16)
UNUSABLE: dict[str, tuple[str, Callable[[Path], str], str]] = {
    "not named": ("train_file", lambda p: "", "must name a Parquet file"),
    "missing": ("test_file", lambda p: str(p / "gone"), "there is no such file"),
    "not Parquet": ("train_file", lambda p: __file__, "is no Parquet file that can be read ("),
    "other columns": ("train_file", lambda p: strange(p, a=[1], b=[2]), "has no column 'img'; it has a, b"),
    "no label": ("train_file", lambda p: strange(p, img=[b""]), "has no column 'label'; it has img"),
    "text label": (
        "train_file",
        lambda p: write(p / "x", [picture(0)], ["cat"]),
        "column 'label' is string, must be a",
    ),
    "no label in a row": (
        "train_file",
        lambda p: write(p / "x", [picture(0)] * 2, [0, None]),
        "column 'label' is int64",
    ),
    "negative": ("train_file", lambda p: write(p / "x", [picture(0)], [-1]), "column 'label' has the label -1; labels"),
    "gap": (
        "train_file",
        lambda p: write(p / "x", [picture(0)] * 2, [0, 2]),
        "labels must be 0 to L - 1: the highest is 2",
    ),
    "from one": (
        "train_file",
        lambda p: write(p / "x", [picture(0)] * 2, [1, 2]),
        "labels must be 0 to L - 1: the hig",
    ),
    "vast": (
        "train_file",
        lambda p: write(p / "x", [picture(0)] * 2, [0, 10**15]),
        "labels must be 0 to L - 1: the hi",
    ),
    "unknown class": ("test_file", lambda p: write(p / "x", [picture(0)], [2]), "has the label 2; there are 2 classes"),
    "empty": (
        "train_file",
        lambda p: write(p / "x", [], np.array([], np.int64).tolist()),
        "column 'label' is null, must",
    ),
    "no bytes": (
        "train_file",
        lambda p: write(p / "x", [picture(0), None], [0, 1]),
        "column 'img' must hold image files",
    ),
    "no file": (
        "train_file",
        lambda p: strange(p, img=[1], label=[0]),
        "column 'img' must hold image files, as struct(b",
    ),
    "damaged": (
        "train_file",
        lambda p: write(p / "x", [picture(0), b"GIF89a?"], [0, 1]),
        "the image in row 1 is no image",
    ),
    "cut short": (
        "train_file",
        lambda p: write(p / "x", [encoded(picture(0), "JPEG")[:-200]], [0]),
        "the image in row 0 is no image that can be used (",
    ),
    "16 bits": (
        "train_file",
        lambda p: write(p / "x", [DEEP], [0]),
        "the image in row 0 is no image that can be used (its",
    ),
    "sizes differ": (
        "train_file",
        lambda p: write(p / "x", [picture(0), picture(0, (5, 5))], [0, 1]),
        "the image in row 1 is 5 x 5 (height x width), the image in row 0 is 6 x 5",
    ),
    "test of another size": (
        "test_file",
        lambda p: write(p / "x", [picture(0, (5, 5))], [0]),
        "its images are 5 x 5 x 3 (height x width x channels), must be 6 x 5 x 3",
    ),
}


@pytest.mark.parametrize(("key", "make", "message"), UNUSABLE.values(), ids=list(UNUSABLE))
def test_an_unusable_parquet_file_gets_one_line(
    tmp_path: Path, key: str, make: Callable[[Path], str], message: str
) -> None:
    given_as = make(tmp_path)
    with pytest.raises(InputError) as caught:
        parquet(tmp_path, **{key: given_as}).load(0)
    assert (caught.value.key, "\n" in str(caught.value)) == (key, False)
    assert caught.value.allowed.startswith(message), str(caught.value)


@pytest.fixture
def keeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A home directory where even two images are worth keeping; the calls of the decoder are counted."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("fedsam.data.images.decode.WORTH_KEEPING", 2)
    return counting(monkeypatch)


def test_decoded_images_are_kept_for_the_next_process(tmp_path: Path, keeping: list[int]) -> None:
    images = [picture(seed) for seed in range(3)]
    files = [encoded(image) for image in images]
    for _ in range(2):
        np.testing.assert_array_equal(images_module.decode_kept(files, str), np.stack(images))
    assert len(keeping) == 1
    np.testing.assert_array_equal(images_module.decode_kept(files[::-1], str), np.stack(images[::-1]))
    assert len(keeping) == 2, "other files are another entry"
    kept = list((tmp_path / "home").rglob("*.*"))
    assert len([path for path in kept if path.suffix == ".npy"]) == 2
    assert not [path for path in kept if path.suffix == ".tmp"]


def test_what_is_kept_is_checked(tmp_path: Path, keeping: list[int]) -> None:
    images = [picture(seed) for seed in range(3)]
    files = [encoded(image) for image in images]
    images_module.decode_kept(files, str)
    (kept,) = (tmp_path / "home").rglob("*.npy")
    whole = kept.read_bytes()
    foreign = io.BytesIO()
    np.save(foreign, np.zeros((2, 6, 5, 3), dtype=np.uint8))
    for damaged in (whole[:-7], b"", foreign.getvalue()):
        kept.unlink()
        kept.write_bytes(damaged)
        np.testing.assert_array_equal(images_module.decode_kept(files, str), np.stack(images))
        assert kept.read_bytes() == whole, "it is written anew"
    assert len(keeping) == 4


def test_where_nothing_can_be_written_images_are_decoded(tmp_path: Path, keeping: list[int]) -> None:
    (tmp_path / "home").write_text("no directory")
    images = [picture(seed) for seed in range(2)]
    for _ in range(2):
        got = images_module.decode_kept([encoded(image) for image in images], str)
        np.testing.assert_array_equal(got, np.stack(images))
    assert len(keeping) == 2


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, keeping: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Any, *rest: Any, **options: Any) -> None:
        file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "save", full)
    images = [picture(seed) for seed in range(2)]
    got = images_module.decode_kept([encoded(image) for image in images], str)
    np.testing.assert_array_equal(got, np.stack(images))
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]


def test_imagefolder_numbers_classes_in_alphabetical_order(tmp_path: Path) -> None:
    root = folders(
        tmp_path, train_dog_a=picture(0), train_cat_a=picture(1), train_cat_b=picture(2), test_dog_a=picture(3)
    )
    (root / "train" / "cat" / "notes.txt").write_text("no image")
    federation = ImageFolder(root=str(root), clients=1).load(0)
    store = federation.examples([0])[0]
    np.testing.assert_array_equal(store.inputs, [picture(1), picture(2), picture(0)])
    assert store.targets.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(federation.test.inputs, [picture(3)])
    assert federation.test.targets.tolist() == [1]
    assert ImageFolder(root=str(root), clients=1).load(1).test is federation.test


def test_imagefolder_resizes_if_asked_to(tmp_path: Path) -> None:
    flat, mode = np.full((8, 12), 60, np.uint8), np.tile(np.array([0, 200], np.uint8), (4, 2))
    root = folders(tmp_path, train_a_1=flat, train_b_1=mode, test_a_1=flat)
    with pytest.raises(InputError) as caught:
        ImageFolder(root=str(root)).load(0)
    assert caught.value.key == "root"
    assert caught.value.allowed == (
        "train/b/1.png is 4 x 4 (height x width), train/a/1.png is 8 x 12; data.size=N resizes all of them to N x N"
    )
    store = ImageFolder(root=str(root), size=2, clients=1).load(0).examples([0])[0]
    assert store.inputs.shape == (2, 2, 2, 1)
    assert np.all(store.inputs[0] == 60)
    assert np.all(np.abs(store.inputs[1].astype(int) - 100) <= 40), "averaged, not picked"


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ({}, "there is no folder train/ in it; it must hold train/CLASS/*.png"),
        ({"train_a_1": picture(0)}, "there is no folder test/ in it; it must hold"),
        ({"train_a_1": picture(0), "test_b_1": picture(0)}, "test/ has the class 'b', train/ has not"),
        ({"train_a_1": picture(0), "test_1": picture(0)}, "there are no images in test/; it must hold"),
        (
            {"train_a_1": picture(0), "train_b_.1": picture(0), "test_a_1": picture(0)},
            "there are no images in train/b/;",
        ),
        ({"train_a_1": b"?", "test_a_1": picture(0)}, "train/a/1.png is no image that can be used ("),
        (
            {"train_a_1": picture(0), "test_a_1": picture(0, (5, 5))},
            "its images are 5 x 5 x 3 (height x width x chan",
        ),
    ],
)
def test_an_unusable_folder_gets_one_line(tmp_path: Path, pictures: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        ImageFolder(root=str(folders(tmp_path, **pictures))).load(0)
    assert (caught.value.key, "\n" in str(caught.value)) == ("root", False)
    assert caught.value.allowed.startswith(message), str(caught.value)
