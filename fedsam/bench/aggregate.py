"""FedAvg's mean of 100 updates of 11 million parameters that arrive in blocks; against a copy that moves as many bytes.

A sum must read each update once; the copy reads and writes half of them, in alternation with it, on the same device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import torch
from torch import Tensor

from fedsam.bench import Row, alternate, wait_for
from fedsam.engine.auto import Auto
from fedsam.strategies.fedavg import FedAvg

CLIENTS = 100
PARAMETERS = 11_173_962  # of ResNet-18 for 10 classes
BLOCKS = (1, 5, 20)  # clients in a block; as many updates as the largest has lie in memory


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Each size of block, and the copy."""
    device = Auto().torch_device()
    held_KP = torch.linspace(-1, 1, PARAMETERS, device=device).repeat(max(BLOCKS), 1)
    theta_P = torch.zeros(PARAMETERS, device=device)
    parts: dict[str, Callable[[], object]] = {
        f"blocks of {block}": partial(mean, held_KP, theta_P, block) for block in BLOCKS
    }
    parts["copy"] = partial(copied, held_KP, torch.empty_like(held_KP[0]))
    seconds = alternate(parts, rounds, wait_for(device))
    limit = median(seconds["copy"])
    moved = 4 * CLIENTS * PARAMETERS
    for name, times in seconds.items():
        rate = f"{moved / median(times) / 1e9:.1f} GB/s"
        yield Row(f"{name}, {CLIENTS} x {PARAMETERS:,}", "none", "fp32", times, median(times) / limit, rate)


def mean(held_KP: Tensor, theta_P: Tensor, block: int) -> Tensor:
    """The mean of `CLIENTS` updates, `block` of them at a time; the same ones come again and again."""
    return FedAvg().aggregate(arriving(held_KP, block), theta_P)


def arriving(held_KP: Tensor, block: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of updates with their weights, 1 / `CLIENTS` each."""
    for begin in range(0, CLIENTS, block):
        place = begin % (len(held_KP) // block * block)
        part_JP = held_KP[place : place + min(block, CLIENTS - begin)]
        yield part_JP, part_JP.new_full((len(part_JP),), 1 / CLIENTS)


def copied(held_KP: Tensor, to_P: Tensor) -> None:
    """Half as many updates, each read and written."""
    for client in range(CLIENTS // 2):
        to_P.copy_(held_KP[client % len(held_KP)])
