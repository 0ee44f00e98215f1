"""What arithmetic and memory allow at best on a device, measured on it: two bounds that no loop can pass.

Both are below what any real program reaches, as they ignore each other and every launch of a kernel.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fedsam.bench import wait_for
from fedsam.bench.common.work import Work

SIDE = 8192  # of the square matrices whose product is timed
BYTES = 2**30  # that are copied


def bounds(work: Work, gradients: int, precision: str, device: torch.device) -> dict[str, float]:
    """Seconds that a round takes at least, by arithmetic and by memory.

    Arithmetic: the multiplications and additions of matrix products and convolutions of every gradient, at the rate of
    one large matrix product in the same precision. Memory: in each gradient every layer's output is written once and
    read once, in each step every weight is read once and written once, at the rate of one large copy.

    Args:
        gradients: of each local step.
    """
    module = work.module().to(device)
    inputs = torch.zeros((min(work.batch, work.samples), work.channels, work.size, work.size), device=device)
    narrow = 2 if precision == "bf16" else 4
    weights = sum(p.numel() for p in module.parameters())
    bytes_moved = 2 * narrow * gradients * outputs(module, inputs) + 2 * 4 * weights
    batches = work.cohort * work.samples / len(inputs)
    return {
        "arithmetic": batches * gradients * operations(module, inputs) / rate(device, precision, SIDE),
        "memory": batches * bytes_moved / bandwidth(device, BYTES),
    }


def operations(module: nn.Module, inputs: Tensor) -> int:
    """Multiplications and additions of one gradient."""
    from torch.utils.flop_counter import FlopCounterMode

    labels = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(module(inputs), labels).backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def outputs(module: nn.Module, inputs: Tensor) -> int:
    """Numbers in the outputs of all layers."""
    sizes: list[int] = []

    def note(layer: nn.Module, given: Any, output: Tensor) -> None:
        sizes.append(output.numel())

    leaves = [layer for layer in module.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(note) for layer in leaves if not isinstance(layer, nn.Flatten | nn.Identity)]
    with torch.no_grad():
        module(inputs)
    for hook in hooks:
        hook.remove()
    return sum(sizes)


@lru_cache(maxsize=8)
def rate(device: torch.device, precision: str, side: int) -> float:
    """Multiplications and additions in a second, of a large matrix product."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.ones((side, side), dtype=dtype, device=device)
    return 2 * side**3 / shortest(lambda: a @ a, device)


@lru_cache(maxsize=8)
def bandwidth(device: torch.device, size: int) -> float:
    """Bytes in a second, read and written, of a large copy."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / shortest(lambda: target.copy_(source), device)


def shortest(part: Callable[[], object], device: torch.device, times: int = 5) -> float:
    """The least seconds of several turns, after one that is not counted."""
    wait, taken = wait_for(device), []
    for _ in range(times + 1):
        wait()
        began = time.perf_counter()
        part()
        wait()
        taken.append(time.perf_counter() - began)
    return min(taken[1:])
