"""Checksums of data, by which it is told whether they are still the same.

Shapes: N examples, K clients.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def digest(*parts: object) -> str:
    """sha256 of arrays, each with its shape and type, and of what else has a text."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(f"{part.dtype.str}{part.shape}".encode())
            found.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        else:
            found.update(repr(part).encode())
    return found.hexdigest()


def joined(index_K: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Several lists of positions as one, and how long each of them is."""
    sizes_K = np.array([len(own) for own in index_K], dtype=np.int64)
    return np.concatenate([np.asarray(own, dtype=np.int64) for own in index_K]), sizes_K
