"""Where the time of one command goes: run as a script, `python -m fedsam.bench.common.phases FILE WORD...`, it runs the
command `fedsam WORD...` and writes a JSON object of seconds by phase to the file.

A phase that begins within another interrupts it, so that they add up to the time of the command.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

PHASES = {  # modules must be those that a command imports anyway
    "fedsam.federated.round_loop:Simulation.__init__": "build",
    "fedsam.federated.round_loop:Simulation.advance": "train",
    "fedsam.measure.schedule:Measures.of": "evaluate",
    "fedsam.measure.schedule:Measures.clients": "evaluate",
    "fedsam.runs.directory:RunDirectory.save_checkpoint": "write",
    "fedsam.runs.directory:RunDirectory.append": "write",
    "fedsam.runs.directory:RunDirectory.finish": "write",
    "fedsam.reports.write:write_report": "report",
    "fedsam.reports.sheet:Sheet.write": "report",
    "fedsam.cluster.join:_start": "start Ray",
    "fedsam.flower.runtime:Runtime.__init__": "start Flower",
    "fedsam.flatness.study:study": "geometry",
}
ORDER = ("start", "import", *dict.fromkeys(PHASES.values()), "else")


class Clock:
    """Seconds by phase, of the main thread; those of others run at the same time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.within = ["else"]
        self.since = time.perf_counter()

    def turn(self) -> None:
        """Add what has passed to the phase under way."""
        now = time.perf_counter()
        self.seconds[self.within[-1]] += now - self.since
        self.since = now

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose time counts for a phase."""

        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return function(*args, **kwargs)
            self.turn()
            self.within.append(phase)
            try:
                return function(*args, **kwargs)
            finally:
                self.turn()
                self.within.pop()

        return wrapped


def watch(clock: Clock) -> None:
    """Time imports, and each part of `PHASES` from when its module is imported."""
    bootstrap: Any = importlib._bootstrap
    wanted: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for place, phase in PHASES.items():
        module, _, name = place.partition(":")
        wanted[module].append((name, phase))
    find = clock.timed("import", bootstrap._find_and_load)

    def found(name: str, import_: Any) -> Any:
        module = find(name, import_)
        for path in [path for path in wanted if path in sys.modules and _whole(sys.modules[path])]:
            for part, phase in wanted.pop(path):
                *owners, last = part.split(".")
                owner = sys.modules[path]
                for step in owners:
                    owner = getattr(owner, step)
                setattr(owner, last, clock.timed(phase, getattr(owner, last)))
        return module

    bootstrap._find_and_load = found


def _whole(module: Any) -> bool:
    return not getattr(module.__spec__, "_initializing", False)


def main(file: Path, words: list[str]) -> None:
    """Run the command and write its phases, however it ends."""
    clock = Clock()
    watch(clock)
    try:
        from fedsam.cli.app import main as command

        command(words)
    finally:
        clock.turn()
        file.write_text(json.dumps(clock.seconds), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
