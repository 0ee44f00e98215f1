"""What a description would take of memory and time, estimated before it is spent and refused where it cannot be had.

Estimates of memory are from below: they count only what must be there at once, so that no run is refused which could
have been. They catch numbers that are wrong by orders of magnitude, which would else end in a killed process or in none
at all. Estimates of time are from a measured part of the work.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsam.errors import InputError

DAY = 24.0  # hours
CROWD = 16  # processes for a core
MOST = 10_000
"""Runs of a sweep, points of a grid, trials of a tuning: what nobody waits for, and no table shows."""


@dataclass(frozen=True)
class Need:
    """Something that must be in memory.

    Args:
        key: the key to lower, with what it was given as.
        given: its value.
        what: what it is, as the subject of a sentence.
        size: bytes, at least.
    """

    key: str
    given: Any
    what: str
    size: float


def must_fit(needs: Sequence[Need], room: float | None = None) -> None:
    """Refuse what does not fit into memory together.

    Args:
        needs: what must be there at once.
        room: bytes; None = what this process can still have.

    Raises:
        InputError: under the key of the largest.
    """
    room, total = free_memory() if room is None else room, sum(need.size for need in needs)
    if total <= room:
        return
    worst = max(needs, key=lambda need: need.size)
    beside = f" and all of it {amount(total)}" if total > 1.05 * worst.size else ""
    allowed = (
        f"{worst.what} would take {amount(worst.size)}{beside}, of {amount(room)} of memory that are free; lower it"
    )
    raise InputError(worst.key, worst.given, allowed)


def must_end(key: str, given: Any, count: float, seconds: float, hours: float = DAY) -> None:
    """Refuse what would take too long.

    Args:
        key, given: what multiplies the work.
        count: how many pieces there are.
        seconds: that one of them was measured to take.
        hours: that it may take.

    Raises:
        InputError: under `key`.
    """
    if count * seconds > hours * 3600:
        whole = f"{count:,.0f} times {seconds:.2g} s, measured here, are {duration(count * seconds)}"
        raise InputError(key, given, f"{whole}, more than {hours:g} h; lower it, or allow more hours")


def must_be_few(key: str, given: Any, count: int, what: str) -> None:
    """Refuse more than `MOST` of something.

    Raises:
        InputError: under `key`.
    """
    if count > MOST:
        raise InputError(key, given, f"makes {count:,} {what}, of which there can be {MOST:,}; give fewer values")


def must_have_cores(key: str, processes: int, cores: int) -> None:
    """Refuse more than `CROWD` processes for each core, at some hundred megabytes each.

    Raises:
        InputError: under `key`.
    """
    if processes > CROWD * cores:
        raise InputError(key, processes, f"must be at most {CROWD * cores}, {CROWD} for each of the {cores} cores")


def free_memory() -> float:
    """Bytes that this process can still have: of the machine, of its container and of its own limit, the least."""
    return min(_of_machine(), _of_container(Path("/sys/fs/cgroup")), _of_process())


def amount(size: float) -> str:
    """Bytes, for a person.

    >>> amount(3 * 2**31)
    '6 GiB'
    """
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} PiB"


def duration(seconds: float) -> str:
    """Seconds, for a person."""
    for unit, length in (("years", 365 * 86_400), ("days", 86_400), ("hours", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.3g} {unit}"
    return f"{seconds:.3g} seconds"


def _of_machine() -> float:
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        return 1024 * sum(float(lines[name].split()[0]) for name in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def _of_container(root: Path) -> float:
    names = ("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")
    for limit, used in names:
        try:
            return max(
                0.0,
                float((root / limit).read_text(encoding="utf-8"))
                - float((root / used).read_text(encoding="utf-8"))
                + _cached(root, limit),
            )
        except (OSError, ValueError):  # none there, or "max"
            continue
    return math.inf


def _cached(root: Path, limit: str) -> float:
    """Bytes of a container's use that the kernel gives back when asked: pages of files."""
    try:
        lines = (root / limit).with_name("memory.stat").read_text(encoding="utf-8").split()
        return float(lines[lines.index("inactive_file") + 1]) + float(lines[lines.index("active_file") + 1])
    except (OSError, ValueError, IndexError):
        return 0.0


def _of_process() -> float:
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return math.inf
        pages = float(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        return max(0.0, limit - pages * os.sysconf("SC_PAGE_SIZE"))
    except (ImportError, OSError, ValueError, IndexError):
        return math.inf
