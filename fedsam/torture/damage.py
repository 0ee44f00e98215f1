"""Run directories of which one file is damaged: every command then either does what it did, or says in one line what is
wrong with which file.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from fedsam import simulate
from fedsam.errors import Interrupted
from fedsam.runs.result import Listener
from fedsam.torture.base import Scale, Trial, forked
from fedsam.torture.runs import METHODS, described, difference

Way = Callable[[bytes], bytes | None]
"""What is left of a file's content; None = it is gone."""


def _lines(change: Callable[[list[bytes]], list[bytes]]) -> Way:
    return lambda content: b"".join(change(content.splitlines(keepends=True)))


def _value(value: Any) -> Way:
    """The file as JSON in which a value, of the last name of the outermost object, is another."""

    def change(content: bytes) -> bytes:
        try:
            found = json.loads(content)
        except ValueError:
            return content[:-1]
        if isinstance(found, dict) and found:
            found[list(found)[-1]] = value
        return json.dumps(found).encode()

    return change


WAYS: dict[str, Way] = {
    "gone": lambda content: None,
    "empty": lambda content: b"",
    "cut in half": lambda content: content[: len(content) // 2],
    "without its last byte": lambda content: content[:-1],
    "a bit flipped": lambda content: (
        content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 4]) + content[len(content) // 2 + 1 :]
    ),
    "zeros at its end": lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
    "not UTF-8": lambda content: b"\xff\xfe" + content,
    "null": lambda content: b"null\n",
    "a list": lambda content: b"[]\n",
    "an empty object": lambda content: b"{}\n",
    "nested deeply": lambda content: b"[" * 100_000,
    "its last value null": _value(None),
    "its last value a list": _value([]),
    "its last value a text": _value("?"),
    "without its second line": _lines(lambda lines: lines[:1] + lines[2:]),
    "its lines reversed": _lines(lambda lines: lines[::-1]),
    "its lines twice": _lines(lambda lines: lines + lines),
}


def campaign(folder: Path, scale: Scale) -> Iterator[Trial]:
    """A run in its middle and a finished one, each file damaged in each way, used by every command that reads them."""
    method = next(iter(METHODS))
    whole, half = folder / "whole", folder / "half"
    forked(partial(_run, method, whole))
    forked(partial(_run, method, half, stop_at=7))
    trials = 0
    for begun in (half, whole):
        for file in sorted(path.relative_to(begun) for path in begun.rglob("*") if path.is_file()):
            for way, change in WAYS.items():
                for command in ("resume", "report", "geometry", "repeat"):
                    trials += 1
                    if trials % scale.every == 0:
                        yield _trial(folder, begun, file, way, change, command, whole)


def _run(method: str, out: Path, stop_at: int = 0) -> None:
    stop = threading.Event()

    class Stopping(Listener):
        def round(self, done: int) -> None:
            if done == stop_at:
                stop.set()

    with suppress(Interrupted):
        simulate(described(method, out), Stopping(), stop)


def _trial(folder: Path, begun: Path, file: Path, way: str, change: Way, command: str, whole: Path) -> Trial:
    out, errors = folder / "run", folder / "errors"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(begun, out)
    content = change((out / file).read_bytes())
    (out / file).unlink()
    if content is not None:
        (out / file).write_bytes(content)
    words = {
        "resume": ["run", "--resume", "run", "-q"],
        "report": ["report", "run"],
        "geometry": ["geometry", "run", "--images", "20", "--surface", "0", "--clients", "0", "-q"],
        "repeat": ["run", "run/run.json", "out=again", "-q"],
    }[command]
    ended = forked(partial(_command, words, folder, errors))
    told = errors.read_text(encoding="utf-8")
    shutil.rmtree(folder / "again", ignore_errors=True)
    what = f"{file} of a {'finished' if begun == whole else 'stopped'} run {way}, then {command}"
    return Trial(what, judged(ended, told) or (difference(out, whole) if command == "resume" and ended == 0 else None))


def judged(ended: int, told: str) -> str | None:
    """What is wrong with how a command ended, and what it told on standard error; None = nothing."""
    if ended not in (0, 1, 2):
        return f"ended with {ended}"
    if "Traceback" in told or "(unexpected" in told:
        return told.strip().splitlines()[-1]
    wrong = [line for line in told.splitlines() if not line.startswith("note: ")]
    if ended and (len(wrong) != 1 or not wrong[0].startswith("error: ")):
        return f"ended with {ended} and told: {told!r}"
    return f"ended with 0 and told: {told!r}" if wrong and not ended else None


def _command(words: list[str], folder: Path, errors: Path) -> None:
    """A command in this process, which ends with its status."""
    os.chdir(folder)
    written = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(written, 2)
    from fedsam.cli.app import main

    try:
        main(words)
    except SystemExit as ended:
        os._exit(ended.code if isinstance(ended.code, int) else 1)
