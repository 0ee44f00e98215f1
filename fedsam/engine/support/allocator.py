"""Keeping freed memory in the process, instead of returning it to the system and asking for it again every step."""

from __future__ import annotations

import ctypes
from functools import lru_cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let glibc's allocator reuse large blocks; whether that was possible (it is with glibc alone).

    By default every tensor above a threshold of at most 32 MiB is its own mapping, zeroed by the kernel page by page
    when it is written, and returned when it is freed: for the activations and gradients of a local step on a CPU that
    costs up to a quarter of the step. The setting holds for the process.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))
