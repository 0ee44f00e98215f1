"""Tensors in one file of the format safetensors, written and read piece by piece: not all need be in memory at once.

The format: the length of the header, 8 bytes, little-endian; the header, JSON, with type, shape and place of each
tensor; their numbers, one tensor after the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from fedsam.errors import RunError

PIECE = 2**26  # bytes that are read or written at once, where a row is not more
NAMES = {
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float32: "F32",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e8m0fnu: "F8_E8M0",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""In the order in which their tensors lie in a file."""


@dataclass(frozen=True)
class Rows:
    """A matrix that is never whole in memory.

    Args:
        shape: M rows of N numbers.
        dtype: of the numbers.
        read: rows from one to before another, [m, N].
    """

    shape: tuple[int, int]
    dtype: torch.dtype
    read: Callable[[int, int], Tensor]

    def __getitem__(self, some: slice) -> Tensor:
        """Some rows one after the other."""
        begin, end, _ = some.indices(self.shape[0])
        return self.read(begin, max(begin, end))

    @property
    def few(self) -> int:
        """How many rows at a time."""
        return max(1, PIECE // max(1, self.shape[1] * self.dtype.itemsize))

    def pieces(self) -> Iterator[Tensor]:
        """All rows, few at a time."""
        return (self[begin : begin + self.few] for begin in range(0, self.shape[0], self.few))


def encoded(tensors: Mapping[str, Tensor | Rows]) -> Iterator[bytes | memoryview]:
    """The bytes of a file with these tensors, those that `safetensors.torch.save` gives, in pieces.

    Raises:
        RunError: numbers are of a type that such a file cannot hold; said before there is a first piece.
    """
    for name, each in tensors.items():
        if each.dtype not in NAMES:
            kind = str(each.dtype).removeprefix("torch.")
            raise RunError(
                f"the state {name} is of type {kind}, which no checkpoint can hold; use another, say float32"
            )
    ranks = list(NAMES)
    order = sorted(tensors, key=lambda name: (ranks.index(tensors[name].dtype), name))
    header, end = {}, 0
    for name in order:
        each = tensors[name]
        begin, end = end, end + torch.Size(each.shape).numel() * each.dtype.itemsize
        header[name] = {"dtype": NAMES[each.dtype], "shape": list(each.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return chain([len(text).to_bytes(8, "little") + text], _numbers(tensors[name] for name in order))


def _numbers(tensors: Iterable[Tensor | Rows]) -> Iterator[memoryview]:
    for each in tensors:
        for piece in each.pieces() if isinstance(each, Rows) else (each,):
            yield piece.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def decoded(path: Path, apart: str) -> tuple[dict[str, Tensor], dict[str, Rows]]:
    """The tensors of a file by name, and those matrices whose names begin with `apart`, which are read when asked for.

    Raises:
        SafetensorError, OSError: it is no such file.
    """
    from safetensors import safe_open

    found, rows = dict[str, Tensor](), dict[str, Rows]()
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118
            shape = file.get_slice(name).get_shape()
            if name.startswith(apart) and len(shape) == 2:
                first: Tensor = file.get_slice(name)[:1]
                rows[name] = Rows((shape[0], shape[1]), first.dtype, _reader(path, name))
            else:
                # as memory of this process's own: a product's last bits depend on how its numbers are aligned
                found[name] = file.get_tensor(name).clone()
    return found, rows


def _reader(path: Path, name: str) -> Callable[[int, int], Tensor]:
    def read(begin: int, end: int) -> Tensor:
        from safetensors import safe_open

        with safe_open(path, "pt") as file:  # opened each time, as what has been looked at counts as this process's
            found: Tensor = file.get_slice(name)[begin:end]
            return found.clone()

    return read
