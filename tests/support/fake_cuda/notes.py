"""What was asked of the fake device: kernels, arithmetic, bytes, copies, waits, memory."""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

ROOT = Path(__file__).parents[3]
PARTS = tuple(f"{ROOT / name}/" for name in ("fedsam", "strategies"))
PLANTED = f"{ROOT / 'tests' / 'gpu'}/"

FREE = frozenset(
    [
        "_local_scalar_dense",
        "_reshape_alias",
        "_unsafe_view",
        "alias",
        "as_strided",
        "detach",
        "diagonal",
        "empty",
        "empty_like",
        "empty_strided",
        "expand",
        "is_pinned",
        "is_same_size",
        "lift",
        "lift_fresh",
        "movedim",
        "narrow",
        "new_empty",
        "new_empty_strided",
        "permute",
        "resolve_conj",
        "prim::device",
        "result_type",
        "select",
        "set_",
        "slice",
        "split",
        "split_with_sizes",
        "squeeze",
        "sym_size",
        "t",
        "transpose",
        "unbind",
        "unfold",
        "unsqueeze",
        "view",
        "view_as_real",
    ]
)
"""Operations that launch nothing."""

KERNELS = {
    "convolution": 2,
    "convolution_backward": 5,
    "native_group_norm": 3,
    "native_group_norm_backward": 4,
    "native_batch_norm": 2,
    "_native_batch_norm_legit": 2,
    "_native_batch_norm_legit_functional": 2,
    "native_batch_norm_backward": 2,
    "linalg_vector_norm": 2,
    "sort": 2,
}
"""Kernels of one operation, about as cuDNN, cuBLAS and ATen launch them; any other is one."""


@dataclass
class Notes:
    """Of a stretch of work.

    Args:
        launches: of kernels, and of graphs of them.
        kernels: how many these were.
        flops: floating-point operations of matrix products and convolutions.
        moved: bytes that kernels read and write, each tensor once a kernel.
        each: (flops, moved) of every kernel.
        copies: numbers and bytes by "way, line of the project".
        waits: for the device, by "why, line of the project".
        refused: what a capture as a CUDA graph would not take, likewise.
        live, peak: bytes on the device, now and at most.
    """

    launches: int = 0
    kernels: int = 0
    flops: float = 0.0
    moved: float = 0.0
    each: list[tuple[float, float]] = field(default_factory=list)
    copies: Counter[str] = field(default_factory=Counter)
    copied: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    live: int = 0
    peak: int = 0
    capturing: bool = False
    _storages: set[int] = field(default_factory=set)

    def begin(self) -> None:
        """Anew, with what lives now."""
        for counter in (self.copies, self.copied, self.waits, self.refused):
            counter.clear()
        self.launches, self.kernels, self.flops, self.moved = 0, 0, 0.0, 0.0
        self.each, self.peak = [], self.live

    def launched(self, func: Any, name: str, args: Any, kwargs: Any, out: Any) -> None:
        """A kernel, or a few."""
        if name in FREE:
            return
        count = flop_registry.get(func.overloadpacket)
        flops = float(count(*args, **kwargs, out_val=out)) if count else 0.0
        if name == "convolution_backward":  # torch takes the weights' derivative of grouped ones for a dense one's
            derivative, _, weight = args[:3]
            flops = 2.0 * derivative.numel() * weight[0].numel() * sum(map(bool, args[10][:2]))
        tensors = [leaf for leaf in leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        # what was expanded is read once: no more than its storage
        moved = float(sum(min(size(one), one.untyped_storage().nbytes()) for one in tensors))
        self.launches += KERNELS.get(name, 1)
        self.kernels += KERNELS.get(name, 1)
        self.flops += flops
        self.moved += moved
        self.each.append((flops, moved))

    def copy(self, way: str, one: Tensor, waits: bool) -> None:
        """Between host and device."""
        what = f"{way}, {line()}"
        self.copies[what] += 1
        self.copied[what] += size(one)
        if waits:
            self.wait(f"copy {way}")
        elif self.capturing:
            self.refused[f"copy {what}"] += 1

    def wait(self, why: str) -> None:
        """The host waits until the device has done all that it was given."""
        self.waits[f"{why}, {line()}"] += 1
        if self.capturing:
            self.refused[f"{why}, {line()}"] += 1

    def holds(self, out: Any) -> None:
        """Results that lie on the device."""
        for one in leaves(out):
            if not isinstance(one, Tensor) or one.device.type != "cuda":
                continue
            storage = one.untyped_storage()
            key = storage._cdata
            if key not in self._storages:
                self._storages.add(key)
                number = storage.nbytes()
                self.live += number
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._freed, key, number)

    def _freed(self, key: int, number: int) -> None:
        self._storages.discard(key)
        self.live -= number


def size(one: Tensor) -> int:
    """Bytes."""
    return one.numel() * one.element_size()


def leaves(tree: Any) -> Iterator[Any]:
    """What is in lists, tuples and dictionaries."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        for one in tree:
            yield from leaves(one)
    else:
        yield tree


def line() -> str:
    """The innermost line of the project that is being carried out: file and function, which move less than numbers."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        passing = code.co_name == "__torch_function__"  # of a mode, through which everything goes
        if code.co_filename.startswith((*PARTS, PLANTED)) and not passing:
            return f"{Path(code.co_filename).relative_to(ROOT)} {code.co_qualname}"
        frame = frame.f_back
    return "?"


def number_of(one: Tensor) -> Any:
    """What a number on the device is taken for."""
    return True if one.dtype == torch.bool else 1.0 if one.is_floating_point() else 1
