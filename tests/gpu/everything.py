"""`make gpu`: what a machine with a GPU is to tell, within eight minutes by its own clock.

Checks first, then the benchmark's cases, then the ways to train a round; each in a process of its own, which is ended
when its time is over. Lines of JSON are written as they come, so that nothing is lost if this is ended, too, and a
table at the end. A part for which too little time is left is left out, and a line says so; a later, shorter one may
still have its turn.

It needs torch, numpy, scipy, scikit-learn, rich, typer and safetensors. Pydantic and what that needs may lie beside, as
wheels in a folder `wheels`; `make wheels` fetches them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).parents[2]
WHOLE = 8.0
"""Minutes."""
RESERVE = 5.0
"""Seconds that are kept for the table."""


@dataclass(frozen=True)
class Part:
    """Something to carry out.

    Args:
        name: checks, or a case of the benchmark.
        least: of eight minutes the seconds below which it is not begun.
        most: those after which it is ended.
    """

    name: str
    least: float
    most: float


PARTS = (
    Part("checks", 30, 200),
    Part("paper-cnn", 20, 60),
    Part("cross-device", 20, 45),
    Part("tiny", 8, 20),
    Part("resnet", 20, 60),
    Part("aggregate", 8, 20),
    Part("evaluate", 8, 20),
    Part("geometry", 8, 30),
    Part("ways", 20, 240),
)
"""In their order."""


class Told:
    """The lines that came, in a file and here."""

    def __init__(self, out: TextIO) -> None:
        self.lines: list[dict[str, Any]] = []
        self._out, self._turn = out, threading.Lock()

    def add(self, line: dict[str, Any]) -> None:
        """One more, on disk before anything else is done."""
        with self._turn:
            self.lines.append(line)
            self._out.write(json.dumps(line) + "\n")
            self._out.flush()
            os.fsync(self._out.fileno())


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry the parts out; 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.everything", description="Everything a GPU is to tell.")
    parser.add_argument("out", type=Path, help="file that lines of JSON are appended to")
    parser.add_argument("--minutes", type=float, default=WHOLE, help="of all together (default 8)")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds of each variant (default 3)")
    parser.add_argument("--wheels", type=Path, default=ROOT / "wheels", help="folder of wheels that are carried along")
    chosen = parser.parse_args(arguments)
    end, share = time.monotonic() + 60 * chosen.minutes - RESERVE, chosen.minutes / WHOLE
    with chosen.out.open("a", encoding="utf-8") as out, tempfile.TemporaryDirectory() as folder:
        told, environment = Told(out), environment_with(unpacked(chosen.wheels, Path(folder)))
        for part in PARTS:
            left = end - time.monotonic()
            if left < share * part.least:
                told.add({"part": part.name, "left_out": f"{left:.0f} s were left, it wants {share * part.least:.0f}"})
                continue
            carry_out(part, min(share * part.most, left), told, environment, chosen.rounds)
    print(table(told.lines))
    return int(any("error" in line for line in told.lines))


def unpacked(wheels: Path, folder: Path) -> list[str]:
    """Where packages lie that are carried along: nowhere if pydantic is installed."""
    if importlib.util.find_spec("pydantic") is not None:
        return []
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return [str(folder)]


def environment_with(places: list[str]) -> dict[str, str]:
    """Of the processes."""
    path = os.pathsep.join([str(ROOT), *places, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


def carry_out(part: Part, seconds: float, told: Told, environment: dict[str, str], rounds: int) -> None:
    """A part, in its own process, for at most so many seconds."""
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.gpu.part", part.name, str(rounds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:

        def read() -> None:
            assert process.stdout
            for line in process.stdout:
                told.add({"part": part.name, **json.loads(line)})

        reader = threading.Thread(target=read)
        reader.start()
        try:
            status = process.wait(seconds)
            if status not in (0, 1):  # 1: it has told what failed
                told.add({"part": part.name, "error": f"its process ended with status {status}"})
        except subprocess.TimeoutExpired:
            process.kill()
            told.add({"part": part.name, "left_out": f"the rest, after {seconds:.0f} s"})
        reader.join()
    told.add({"part": part.name, "seconds": round(time.monotonic() - began, 1)})


def table(lines: list[dict[str, Any]]) -> str:
    """What was found, for people."""
    found = []
    for line in lines:
        name = line["part"]
        if "error" in line:
            found.append(f"FAILED    {name}: {line.get('check', line.get('case', ''))} {line['error']}")
        elif "left_out" in line:
            found.append(f"left out  {name}: {line['left_out']}")
        elif "seconds_per_round" in line:
            ratio = line["limit_ratio"]
            held = "" if ratio is None else f", {ratio:.2f} of the limit's"
            milliseconds = 1e3 * line["seconds_per_round"]
            found.append(f"{milliseconds:8.2f}  ms, {line['case']}: {line['variant']}, {line['precision']}{held}")
        elif "seconds" in line and "check" not in line:
            found.append(f"{line['seconds']:8.1f}  s, {name} in all")
    passed = sum("check" in line and "error" not in line for line in lines)
    return "\n".join([f"{passed:8d}  checks passed", *found])


if __name__ == "__main__":
    sys.exit(main())
