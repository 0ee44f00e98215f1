"""metrics.jsonl: the recorded rounds of a run, one a line, and the tally by which a checkpoint vouches for them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsam.errors import Damaged
from fedsam.measure.names import value_of
from fedsam.storage.files import append, flush, on_disk, replace_file

log = logging.getLogger("fedsam")

FILE = "metrics.jsonl"
Record = dict[str, Any]


@dataclass(frozen=True)
class Tally:
    """What a checkpoint says of the records up to it.

    Args:
        count: how many there are.
        bytes: how long they are in the file.
        sha256: of these bytes.
    """

    count: int
    bytes: int
    sha256: str


class Records:
    """The file as a run writes it: what another process does to it meanwhile is made good at the next
    checkpoint.

    Args:
        file: its path.
        kept: the lines that are there already.
    """

    def __init__(self, file: Path, kept: Iterable[bytes] = ()) -> None:
        self.file = file
        self._lines: list[bytes] = []
        self._bytes, self._sha256 = 0, hashlib.sha256()
        for line in kept:
            self._count(line)

    def _count(self, line: bytes) -> None:
        self._lines.append(line)
        self._bytes += len(line)
        self._sha256.update(line)

    def append(self, record: Record) -> None:
        """Add a record."""
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        with on_disk(self.file):
            append(self.file, line)
        self._count(line)

    def tally(self) -> Tally:
        """Of all records so far; they are flushed to the disk first."""
        with on_disk(self.file):
            if self._lines and not (self.file.exists() and self.file.stat().st_size == self._bytes):
                self._anew()
            if self.file.exists():
                flush(self.file)
        return Tally(len(self._lines), self._bytes, self._sha256.hexdigest())

    def check(self) -> None:
        """Read everything back, for a last time."""
        with on_disk(self.file):
            if self._lines and (not self.file.exists() or self.file.read_bytes() != b"".join(self._lines)):
                self._anew()

    def _anew(self) -> None:
        log.warning("%s was changed while the run went on; it is written anew as it was recorded", self.file)
        with on_disk(self.file):
            replace_file(self.file, b"".join(self._lines))


def read(file: Path, tally: Tally | None, cure: str, tail: bool = False) -> list[Record]:
    """The recorded rounds, checked.

    Args:
        file: of the records; where there is none, there are no records.
        tally: what the checkpoint says of them; None = it says nothing, and every line counts but a last one that is
            cut short.
        cure: what to do about a file that is damaged, as the end of a sentence.
        tail: read on behind the records that the tally is of, up to a last line that is cut short.

    Raises:
        Damaged: they are not those that were recorded.
    """
    content = _content(file, cure)
    sure = [] if tally is None else _vouched(content, tally, file, cure)
    lines = _lines(content) if tally is None or tail else sure
    found, wrong = _parsed(lines)
    if wrong and (len(found) < len(sure) or len(found) + 1 < len(lines)):
        raise _damaged(file, wrong, cure)
    return found


def upto(
    file: Path, round: int, tally: Tally | None, due: Callable[[int], bool], cure: str
) -> tuple[list[Record], list[bytes]]:
    """The records up to a checkpoint, and their lines as they are in the file; what comes behind does not matter.

    Args:
        file, tally, cure: as for `read`; without a tally the records are believed if each that must be there is.
        round: of the checkpoint.
        due: whether a round must have been recorded.

    Raises:
        Damaged: they are not those that were recorded.
    """
    content = _content(file, cure)
    lines = _lines(content) if tally is None else _vouched(content, tally, file, cure)
    found, wrong = _parsed(lines)
    if tally is None:
        found = [record for record in found if record["round"] <= round]
        missing = set(filter(due, range(1, round + 1))) - {record["round"] for record in found}
        if missing:
            raise _damaged(file, wrong or f"round {min(missing)} is missing in {FILE}", cure)
    elif wrong:
        raise _damaged(file, wrong, cure)
    return found, lines[: len(found)]


def _content(file: Path, cure: str) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise _damaged(file, f"{FILE} cannot be read ({error.strerror})", cure) from None


def _lines(content: bytes) -> list[bytes]:
    """Each with its end, but for a last one that is cut short."""
    *whole, rest = content.split(b"\n")
    return [line + b"\n" for line in whole] + [rest] * bool(rest)


def _vouched(content: bytes, tally: Tally, file: Path, cure: str) -> list[bytes]:
    """The lines that a checkpoint vouches for.

    Raises:
        Damaged: they are not there, or not as they were.
    """
    sure = content[: tally.bytes]
    lines = _lines(sure)
    if hashlib.sha256(sure).hexdigest() == tally.sha256:
        return lines
    _, wrong = _parsed(lines)  # which says more precisely what is wrong, if it can
    about = f"the checkpoint is of {tally.count} records in {tally.bytes} bytes"
    short = f"{about}, {FILE} has {len(content)}" if len(content) < tally.bytes else ""
    raise _damaged(file, short or wrong or f"{about}, with another sha256 than {FILE} has", cure)


def _parsed(lines: list[bytes]) -> tuple[list[Record], str]:
    """The records of the first lines that are some, and what is wrong with the next, if there is one."""
    found: list[Record] = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line.decode())
            whole = type(record["round"]) is int and type(value_of(record)) in (int, float)
        except (ValueError, KeyError, TypeError, RecursionError):
            whole = False
        if not whole:
            return found, f"line {number} of {FILE} cannot be read"
        before = found[-1]["round"] if found else 0
        if record["round"] <= before:
            return found, f"line {number} of {FILE} is of round {record['round']}, which does not come after {before}"
        found.append(record)
    return found, ""


def _damaged(file: Path, what: str, cure: str) -> Damaged:
    return Damaged(f"{file.parent}: {what}; {cure}")
