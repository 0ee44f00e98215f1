"""What a checkpoint says of itself: its one file, the records up to it, and in the end the files that the run ended in.

It is replaced as a whole, which is the moment at which a new checkpoint exists. A kill at any point leaves this one or
the one before; files that it does not speak of do not count.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fedsam.runs.records import Tally
from fedsam.storage.files import damaged, read_object

FORMAT = 1
FILE = "manifest.json"
NUMBERS = "loss", "seconds"
COUNTS = "trained", "bytes_up", "bytes_down"


@dataclass(frozen=True)
class Manifest:
    """A checkpoint, described.

    Args:
        round: how many are done.
        sha256: of its file of tensors.
        pending: what was counted since the last record.
        records: of metrics.jsonl up to here; None in one that was written before they were counted.
        files: the sha256 of each file that the run ended in, by name; empty as long as it goes on.
    """

    round: int
    sha256: str
    pending: dict[str, Any]
    records: Tally | None = None
    files: dict[str, str] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The name of its file of tensors."""
        return f"round-{self.round:07d}.safetensors"

    def as_json(self) -> dict[str, Any]:
        """Its content as plain JSON types."""
        found = {"format": FORMAT, "round": self.round, "file": self.file, "sha256": self.sha256}
        found |= {"pending": self.pending, "records": self.records and asdict(self.records)}
        found |= {"files": self.files} if self.files else {}
        return found | {"digest": _digest(found)}


def read_manifest(folder: Path, cure: str) -> Manifest | None:
    """That of a folder of checkpoints; None if there is none yet.

    Args:
        cure: what to do where it is damaged, as the end of a sentence.

    Raises:
        Damaged: it is.
    """
    file = folder / FILE
    try:
        found = read_object(file, cure)
    except FileNotFoundError:
        return None
    try:
        return _manifest(found)
    except (KeyError, TypeError, ValueError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise damaged(file, what, cure) from None


def _manifest(found: Mapping[str, Any]) -> Manifest:
    if found.get("format", FORMAT) != FORMAT:
        raise ValueError(f"it has format {found['format']!r}, this version of fedsam reads format {FORMAT}")
    if {"records", "files", "digest"} & found.keys() and found.get("digest") != _digest(found):
        raise ValueError("its digest is not that of its content")
    if type(found["round"]) is not int or found["round"] < 1:
        raise ValueError(f"round is {found['round']!r}")
    counted, files = found.get("records"), found.get("files", {})
    tally = None if counted is None else Tally(**{name: counted[name] for name in ("count", "bytes", "sha256")})
    if tally and not (type(tally.count) is int and type(tally.bytes) is int and tally.bytes >= 0):
        raise ValueError(f"records is {counted!r}")
    manifest = Manifest(found["round"], found["sha256"], found["pending"], tally, files)
    if not isinstance(files, dict) or not isinstance(manifest.pending, dict):
        raise ValueError("files and pending must be objects")
    if found["file"] != manifest.file:
        raise ValueError(f"file is {found['file']!r}, of round {manifest.round} it is {manifest.file}")
    return manifest


def _digest(found: Mapping[str, Any]) -> str:
    text = json.dumps({name: value for name, value in found.items() if name != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check_pending(pending: Mapping[str, Any]) -> None:
    """Refuse what no run has counted.

    Raises:
        KeyError, ValueError: with what is wrong.
    """
    for name in (*NUMBERS, *COUNTS):
        value, right = pending[name], (int, float) if name in NUMBERS else (int,)
        if type(value) not in right or not math.isfinite(value) or (value < 0 and name != "loss"):
            raise ValueError(f"pending.{name} is {value!r}")
    failures = pending.get("failures", [])
    if not isinstance(failures, list) or not all(isinstance(failure, dict) for failure in failures):
        raise ValueError("pending.failures is no list of objects")
    participation = pending.get("turnout", {})
    if not isinstance(participation, dict) or any(
        type(count) is not int or count < 0 for count in participation.values()
    ):
        raise ValueError("pending.turnout is no object of counts")
    if type(pending.get("simulated_seconds", 0.0)) not in (int, float):
        raise ValueError(f"pending.simulated_seconds is {pending['simulated_seconds']!r}")
