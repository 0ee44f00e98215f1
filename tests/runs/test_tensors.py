"""Files of tensors that are written and read piece by piece."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from fedsam.errors import RunError
from fedsam.storage.files import replace_in_pieces, sha256_of
from fedsam.storage.tensors import NAMES, Rows, decoded, encoded

TENSORS = {
    **{f"of {kind}": (torch.arange(6 * kind.itemsize).byte() % 2).view(kind).reshape(2, 3) for kind in NAMES},
    "number": torch.tensor(3),
    "nothing": torch.zeros(0),
    "no rows": torch.zeros(0, 4),
    "slots.ids": torch.arange(5),
    "slots.control": torch.randn(5, 7, generator=torch.Generator().manual_seed(0)),
    "turned": torch.arange(6.0).reshape(2, 3).T,
    'a "name" – ü': torch.ones(1),
}


def test_it_writes_what_the_library_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fedsam.storage.tensors.PIECE", 60)  # two rows
    whole = safetensors.torch.save({name: tensor.contiguous() for name, tensor in TENSORS.items()})
    control = TENSORS["slots.control"]
    rows = Rows((5, 7), torch.float32, lambda begin, end: control[begin:end])
    for tensors in (TENSORS, TENSORS | {"slots.control": rows}):
        pieces = list(encoded(tensors))
        assert b"".join(pieces) == whole
        assert replace_in_pieces(tmp_path / "file", iter(pieces)) == hashlib.sha256(whole).hexdigest()
        assert sha256_of(tmp_path / "file") == hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()
        assert (tmp_path / "file").read_bytes() == whole
    assert [len(piece) for piece in rows.pieces()] == [2, 2, 1]


def test_it_reads_what_the_library_reads(tmp_path: Path) -> None:
    path = tmp_path / "file"
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in TENSORS.items()}, path)
    found, rows = decoded(path, "slots.")
    assert set(rows) == {"slots.control"}
    assert set(found) == set(TENSORS) - set(rows)
    for name, tensor in found.items():
        assert tensor.dtype == TENSORS[name].dtype
        assert tensor.shape == TENSORS[name].shape
        assert tensor.data_ptr() % 64 == 0, "the last bits of products depend on where their numbers lie"
        same = (each.contiguous().reshape(-1).view(torch.uint8) for each in (tensor, TENSORS[name]))
        assert torch.equal(*same)
    control, expected = rows["slots.control"], TENSORS["slots.control"]
    assert (control.shape, control.dtype) == ((5, 7), torch.float32)
    for some in (slice(None), slice(1, 3), slice(4, 99), slice(3, 1), slice(-2, None)):
        assert torch.equal(control[some], expected[some])


def test_numbers_that_no_file_can_hold_are_refused_before_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"^the state server\.n is of type complex128, which no checkpoint can hold; use"
    ):
        replace_in_pieces(tmp_path / "file", encoded({"server.n": torch.zeros(1, dtype=torch.complex128)}))
    assert not list(tmp_path.iterdir())


def test_whatever_goes_wrong_leaves_nothing_at_the_side(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"begun"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_in_pieces(tmp_path / "file", pieces())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"12", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}x", b"\x08\0\0\0\0\0\0\0nonsense"])
def test_what_is_no_such_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(safetensors.SafetensorError):
        decoded(tmp_path / "file", "slots.")
