"""Speed, measured as a ratio to something timed in alternation in the same run. One case, one module with a function
`rows`.

Each case prints a table, or with `--json` one object a line: `case variant engine precision seconds_per_round spread
rounds limit_ratio versus hardware versions`. `seconds_per_round` is a median over `rounds` rounds, `spread` half the
distance between their quartiles, `limit_ratio` the median time over that of the case's limit (null where there is
none), and `versus` each peer's median time over ours (empty without `--versus`).

Cases are modules; what they share lies in the sub-package `common`, and the frameworks that are compared in `peers`.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from fedsam.errors import InputError

if TYPE_CHECKING:
    import torch

APART = ("all",)  # modules that are no cases


@dataclass(frozen=True)
class Row:
    """One measured variant; `note` is for the table alone, `versus` each peer's median time over this one's."""

    variant: str
    engine: str
    precision: str
    seconds: list[float]
    limit_ratio: float | None
    note: str = ""
    versus: dict[str, float] = field(default_factory=dict)

    def spread(self) -> float:
        """Half the distance between the quartiles."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / 2


def names() -> list[str]:
    """The cases there are."""
    modules = [module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg]
    return sorted(name.replace("_", "-") for name in modules if name not in APART)


def alternate(
    parts: dict[str, Callable[[], Any]], rounds: int, device_wait: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Time each part `rounds` times in turn, after one turn that is not counted; seconds by part."""
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for turn in range(rounds + 1):
        for name, part in parts.items():
            device_wait()
            began = time.perf_counter()
            part()
            device_wait()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def wait_for(device: torch.device) -> Callable[[], None]:
    """What waits until the device has done all it was asked to do; on a CPU nothing has to."""
    import torch

    return partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None


def measure(name: str, rounds: int, as_json: bool, versus: bool = False) -> None:
    """Run a case and print what was measured.

    Args:
        versus: measure peers too, in the cases that have any.

    Raises:
        InputError: there is no such case.
    """
    rows = rows_of(name, rounds, versus)
    from fedsam.runs.environment import hardware, versions

    about, built = hardware(), versions()
    if versus:
        built |= importlib.import_module(f"{__name__}.peers").versions()
    if as_json:
        for row in rows:
            print(json.dumps(json_object(name, row, about, built)), flush=True)
        return
    from rich.console import Console
    from rich.table import Table

    threads = f"{about['threads']} threads"
    where = ", ".join(about["gpus"]) or f"{about['processor']}, {about['cores']} cores, {threads}"
    table = Table(title=f"{name}: median of {rounds} rounds; {where}; torch {built['torch']}", title_justify="left")
    for header in ("variant", "engine", "precision", "seconds per round", "spread", "over limit", "versus", ""):
        table.add_column(header, justify="right" if header in ("seconds per round", "spread", "over limit") else "left")
    for row in rows:
        ratio = "" if row.limit_ratio is None else f"{row.limit_ratio:.3f}"
        peers = ", ".join(f"{peer} {times:.1f} x" for peer, times in row.versus.items())
        seconds = f"{median(row.seconds):.5f}", f"{row.spread():.5f}"
        table.add_row(row.variant, row.engine, row.precision, *seconds, ratio, peers, row.note)
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table, highlight=False)


def rows_of(name: str, rounds: int, versus: bool = False) -> Iterator[Row]:
    """What a case measures.

    Raises:
        InputError: there is no such case.
    """
    if name not in names():
        asked = f"no such case {name!r}" if name else "name a case"
        raise InputError("", InputError.ABSENT, f"{asked}; there are {', '.join(names())}")
    found: Iterator[Row] = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").rows(rounds, versus)
    return found


def json_object(case: str, row: Row, about: dict[str, Any], built: dict[str, str]) -> dict[str, Any]:
    """A row as `--json` prints it; `about` and `built` are hardware and versions."""
    return {
        "case": case,
        "variant": row.variant,
        "engine": row.engine,
        "precision": row.precision,
        "seconds_per_round": median(row.seconds),
        "spread": row.spread(),
        "rounds": len(row.seconds),
        "limit_ratio": row.limit_ratio,
        "versus": row.versus,
        "hardware": about,
        "versions": built,
    }
