"""The data sets that have names: Parquet files and torchvision's files made here, no network, and the real CIFAR-10."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import socket
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsam import InputError
from fedsam.config import find
from fedsam.data.base import Dataset, Federation
from fedsam.data.cifar10 import CIFAR10
from fedsam.data.mnist import MNIST
from fedsam.data.partition.base import Assignment, Partition
from fedsam.data.svhn import SVHN
from fedsam.rng import stream


class Stripes(Partition):
    """Client k has every clients-th example, from k on."""

    def assign(
        self, labels: np.ndarray, clients: int, samples_per_client: int | None, rng: np.random.Generator
    ) -> Assignment:
        return Assignment.of([np.arange(k, len(labels), clients)[:samples_per_client] for k in range(clients)])


def picture(seed: int, size: int = 32) -> np.ndarray:
    return stream(seed, "picture").integers(256, size=(size, size, 3), dtype=np.uint8)


def write(path: Path, images: list[np.ndarray], labels: list[int], image: str = "img") -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    files = []
    for pixels in images:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        files.append({"bytes": buffer.getvalue(), "path": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({image: pa.array(files, kind), "label": labels}), path)


@pytest.fixture
def real_data_root() -> Path:
    root = os.environ.get("FEDSAM_DATA")
    if not root:
        pytest.skip("set FEDSAM_DATA to the folder that has cifar10/train.parquet and test.parquet")
    return Path(root)


def test_the_root_is_the_key_then_the_environment_then_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("FEDSAM_DATA", "/shared/data")
    assert MNIST(root="~/mine").folder() == Path("/home/someone/mine")
    assert MNIST().folder() == Path("/shared/data")
    monkeypatch.delenv("FEDSAM_DATA")
    assert MNIST(root="none").folder() == Path("/home/someone/.cache/fedsam")


@pytest.mark.parametrize("column", ["img", "image"])
def test_cifar10_reads_parquet_files_first(tmp_path: Path, column: str) -> None:
    images = [picture(seed, 32) for seed in range(3)]
    write(tmp_path / "cifar10" / "train.parquet", images[:2], [9, 0], column)
    write(tmp_path / "cifar10" / "test.parquet", images[2:], [3], column)
    federation = CIFAR10(root=str(tmp_path), clients=2, partition=Stripes()).load(0)
    assert federation.spec.classes == 10, "even if some are missing"
    np.testing.assert_array_equal(federation.examples([0])[0].inputs, images[:2])
    np.testing.assert_array_equal(federation.test.inputs, images[2:])


def test_the_authors_leak_puts_test_images_into_training(tmp_path: Path) -> None:
    images = [picture(seed, 32) for seed in range(7)]
    labels, tested = [9, 0, 5, 5], [9, 1, 5]
    write(tmp_path / "cifar10" / "train.parquet", images[:4], labels)
    write(tmp_path / "cifar10" / "test.parquet", images[4:], tested)
    files = {}  # as the authors write them into one folder
    for part, names in ((images[:4], labels), (images[4:], tested)):
        files |= {f"img_{i}_label_{label}": image for i, (image, label) in enumerate(zip(part, names, strict=True))}
    expected = [files[f"img_{i}_label_{label}"] for i, label in enumerate(labels)]
    root = str(tmp_path)
    plain, leaky = (CIFAR10(root=root, partition=Stripes(), clients=2, fedsam_leak=leak) for leak in (False, True))
    np.testing.assert_array_equal(leaky.load(0).examples([0])[0].inputs, expected)
    np.testing.assert_array_equal(leaky.load(0).test.inputs, images[4:])
    assert leaky.load(0).examples([0])[0].targets.tolist() == labels
    np.testing.assert_array_equal(plain.load(0).examples([0])[0].inputs, images[:4])


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [
        (picture(0, 32), 10, "has the label 10; there are 10 classes, from 0"),
        (picture(0, 8), 0, "its images are 8 x 8 x 3 (height x width x channels), must be 32 x 32 x 3"),
        (None, 0, "there is no such file"),
    ],
    ids=["label", "size", "missing"],
)
def test_cifar10_refuses_parquet_files_of_something_else(
    tmp_path: Path, image: np.ndarray | None, label: int, message: str
) -> None:
    write(tmp_path / "cifar10" / "train.parquet", [picture(0, 32)], [0])
    path = tmp_path / "cifar10" / "test.parquet"
    if image is not None:
        write(path, [image], [label])
    with pytest.raises(InputError) as caught:
        CIFAR10(root=str(tmp_path)).load(0)
    assert (caught.value.key, caught.value.given, caught.value.allowed) == ("root", str(path), message)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Every connection is refused; with which timeouts they were tried."""
    tried: list[float | None] = []

    def refuse(*address: Any, **options: Any) -> Any:
        tried.append(socket.getdefaulttimeout())
        raise OSError("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tried


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist", "fashion_mnist", "svhn"])
def test_offline_the_message_says_where_to_put_which_files(
    tmp_path: Path, offline: list[float | None], name: str
) -> None:
    pytest.importorskip("torchvision")
    root: Any = Dataset
    wanted = {
        "cifar10": "cifar-10-python.tar.gz",
        "cifar100": "cifar-100-python.tar.gz",
        "mnist": "MNIST/raw/",
        "fashion_mnist": "FashionMNIST/raw/",
        "svhn": "train_32x32.mat and test_32x32.mat",
    }[name]
    began = time.perf_counter()
    with pytest.raises(InputError) as caught:
        find(root, name)(root=str(tmp_path / "new")).load(0)
    assert time.perf_counter() - began < 10
    message = str(caught.value)
    assert message.startswith(f"root = {tmp_path / 'new'}"[:80])
    assert "no network here" in message
    assert wanted in caught.value.allowed
    assert "\n" not in message
    assert offline, "nothing was tried"
    assert None not in offline, "it would wait without end"
    assert socket.getdefaulttimeout() is None


def test_mnist_reads_torchvisions_files(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    content: dict[str, np.ndarray] = {}
    for part, count in (("train", 4), ("t10k", 2)):
        content[part] = stream(count, "picture").integers(256, size=(count, 28, 28), dtype=np.uint8)
        head = struct.pack(">IIII", 2051, count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + content[part].tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + bytes(range(count)))
    spec, train, test = MNIST(root=str(tmp_path)).read()
    for split, part in ((train, "train"), (test, "t10k")):
        np.testing.assert_array_equal(split.inputs, content[part][:, :, :, None])
        assert split.targets.tolist() == list(range(len(split)))
    assert split.inputs.shape[1:] == spec.shape


def test_a_damaged_mnist_file_gets_one_line(tmp_path: Path, offline: list[float | None]) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(struct.pack(">IIII", 2051, 9, 28, 28) + b"short")
    with pytest.raises(InputError, match="no usable MNIST there"):
        MNIST(root=str(tmp_path)).read()


def test_cifar10_reads_torchvisions_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    images = stream(1, "picture").integers(256, size=(6, 32, 32, 3), dtype=np.uint8)
    rows = images.transpose(0, 3, 1, 2).reshape(6, -1)
    batches = {
        "data_batch_1": {"data": rows[:2], "labels": [6, 9]},
        "data_batch_2": {"data": rows[2:4], "labels": [9, 4]},
        "test_batch": {"data": rows[4:], "labels": [3, 8]},
        "batches.meta": {"label_names": [str(label) for label in range(10)]},
    }
    sums = {}
    for name, batch in batches.items():
        blob = pickle.dumps(batch)
        (folder / name).write_bytes(blob)
        sums[name] = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    listed = [[name, md5] for name, md5 in sums.items()]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", listed[:2])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", listed[2:3])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    _, train, test = CIFAR10(root=str(tmp_path)).read()
    np.testing.assert_array_equal(train.inputs, images[:4])
    np.testing.assert_array_equal(test.inputs, images[4:])
    assert (train.targets.tolist(), test.targets.tolist()) == ([6, 9, 9, 4], [3, 8])


def test_svhn_reads_torchvisions_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat
    from torchvision import datasets

    images = stream(1, "picture").integers(256, size=(3, 32, 32, 3), dtype=np.uint8)
    listed = {}
    for part, own in (("train", images[:2]), ("test", images[1:])):
        path = tmp_path / f"{part}_32x32.mat"
        savemat(path, {"X": own.transpose(1, 2, 3, 0), "y": np.array([[10], [3]], dtype=np.uint8)})
        listed[part] = ["", path.name, hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", listed)
    _, train, test = SVHN(root=str(tmp_path)).read()
    np.testing.assert_array_equal(train.inputs, images[:2])
    np.testing.assert_array_equal(test.inputs, images[1:])
    assert train.targets.tolist() == [0, 3], "the label 10 is the digit 0"


@pytest.mark.data
def test_the_real_cifar10(real_data_root: Path) -> None:
    data = CIFAR10(root=str(real_data_root), partition=Stripes())
    federation: Federation = data.load(0)
    train = federation.examples([0])[0]
    assert (len(train), len(federation.test)) == (50_000, 10_000)
    assert train.targets[:5].tolist() == [6, 9, 9, 4, 1]
    assert federation.test.targets[:5].tolist() == [3, 8, 8, 0, 6]
    assert np.bincount(train.targets).tolist() == [5000] * 10
    means = train.inputs.mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(means, federation.spec.mean, atol=1e-3)
    assert federation.sizes(range(100)).tolist() == [500] * 100
    leaky = CIFAR10(root=str(real_data_root), partition=Stripes(), fedsam_leak=True).load(0).examples([0])[0]
    changed = np.flatnonzero((leaky.inputs != train.inputs).any(axis=(1, 2, 3)))
    assert (len(changed), changed.max() < 10_000) == (1006, True)
