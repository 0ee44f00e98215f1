"""Arrays of a block, sent to the device as one.

A copy from memory that the system may move makes the host wait for all that the device was given before. From pinned
memory it waits for nothing (CUDA C++ Programming Guide, section "Asynchronous Concurrent Execution"), and one copy is
begun as fast as another, whatever its size: so what a block needs is packed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

ALIGNED = 16
"""Bytes, of which each array begins at a multiple, as all types of its numbers want."""


def uploaded(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    """The arrays as tensors on the device, each with its own shape and type; on a CPU on their own memory.

    On a GPU by one copy that is not waited for: torch gives the pinned memory back once the device has read it.
    """
    if device.type == "cpu":
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
    begins = np.cumsum([0, *(-(-array.nbytes // ALIGNED) * ALIGNED for array in arrays.values())]).tolist()
    packed = torch.empty(begins[-1], dtype=torch.uint8, pin_memory=True)
    bytes_N = packed.numpy()
    for begin, array in zip(begins, arrays.values(), strict=False):
        bytes_N[begin : begin + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    there = packed.to(device, non_blocking=True)
    return {
        name: there[begin : begin + array.nbytes].view(_type(array)).view(array.shape)
        for begin, (name, array) in zip(begins, arrays.items(), strict=False)
    }


def numbers(values: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """Numbers rounded to the type of a tensor."""
    return values.astype(str(dtype).removeprefix("torch."))


def _type(array: np.ndarray) -> torch.dtype:
    found: torch.dtype = getattr(torch, array.dtype.name)
    return found
