"""Kernels of a GPU that give the same bits again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def deterministic() -> Iterator[None]:
    """Inside, where there is a GPU, deterministic kernels of cuDNN, of torch, and, until the process ends, of cuBLAS.

    Where torch has no deterministic kernel for an operation it warns and takes the other. Memory that is yet to be
    written is not filled, which torch would else do in this mode (torch's documentation, "Reproducibility").
    """
    cudnn: Any = torch.backends.cudnn
    memory: Any = torch.utils.deterministic
    before = cudnn.deterministic, cudnn.benchmark
    enabled, warning = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    filled, there = memory.fill_uninitialized_memory, torch.cuda.is_available()
    try:
        cudnn.deterministic, cudnn.benchmark = True, False
        if there:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is begun
            torch.use_deterministic_algorithms(True, warn_only=not enabled or warning)
            memory.fill_uninitialized_memory = filled and enabled
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
        if there:
            torch.use_deterministic_algorithms(enabled, warn_only=warning)
            memory.fill_uninitialized_memory = filled
