"""The run directory: run.json, metrics.jsonl, checkpoint/ and model.safetensors.

Everything that must survive a crash is written to the side, flushed to the disk and renamed. The checkpoint's manifest
names the one file that belongs to it and that file's checksum; replacing the manifest is the moment at which a new
checkpoint exists.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from fedsam.errors import InputError, RunError
from fedsam.foreign import must_be_own
from fedsam.run import Run, digest_of

FORMAT = 1
Record = dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """The state after `round` rounds: tensors by name, and what has been counted since the last record."""

    round: int
    tensors: dict[str, Tensor]
    pending: dict[str, Any]


class RunDirectory:
    """A run directory that exists."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._metrics = path / "metrics.jsonl"
        self._checkpoint = path / "checkpoint"

    @classmethod
    def create(cls, path: Path, run: Run, environment: Mapping[str, Any]) -> RunDirectory:
        """Make a new run directory.

        Raises:
            InputError: there is something at `path` already.
        """
        must_be_free(path)
        with on_disk(path):
            path.mkdir(parents=True, exist_ok=True)
            description = {"format": FORMAT, "keys": run.keys(), "digest": run.digest(), "environment": environment}
            replace_file(path / "run.json", (json.dumps(description, indent=2) + "\n").encode())
            return cls(path)

    @classmethod
    def open(cls, path: Path) -> tuple[RunDirectory, Run]:
        """Open a run directory, and read the run that it describes.

        Raises:
            InputError: it is none, its run.json cannot be read, or it is another user's and not trusted.
        """
        file = path / "run.json"
        must_be_own(path, file)
        try:
            description = json.loads(file.read_text(encoding="utf-8"))
            written_by, keys, digest = description["format"], description["keys"], description["digest"]
        except FileNotFoundError:
            raise InputError(
                "", InputError.ABSENT, f"{path} is not a run directory: there is no run.json in it"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                "", InputError.ABSENT, f"{file} cannot be read ({error}); start the run anew with another out"
            ) from None
        if written_by != FORMAT:
            raise InputError(
                "", InputError.ABSENT, f"{file} has format {written_by}, this version of fedsam reads format {FORMAT}"
            )
        if digest_of(keys) != digest:
            raise InputError(
                "", InputError.ABSENT, f"{file} was changed: its keys do not match its digest; restore it or start anew"
            )
        run = Run.from_keys(keys)
        return cls(path), run

    def environment(self) -> dict[str, Any]:
        """What the run was started on."""
        found: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8")).get("environment", {})
        return found

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file of this name."""
        with on_disk(self.path / name):
            replace_file(self.path / name, (json.dumps(content, allow_nan=False) + "\n").encode())

    def append(self, record: Record) -> None:
        """Add a line to metrics.jsonl."""
        with on_disk(self._metrics), self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def append_failure(self, text: str) -> None:
        """Add a client's error, with its traceback, to failures.log."""
        file = self.path / "failures.log"
        with on_disk(file), file.open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(text.rstrip() + "\n\n")

    def metrics(self) -> list[Record]:
        """The recorded rounds; a last line that was cut off is left out."""
        records = []
        for line in self._metrics.read_text(encoding="utf-8").splitlines() if self._metrics.exists() else []:
            try:
                records.append(json.loads(line))
            except ValueError:
                break
        return records

    def rewind(self, round: int) -> list[Record]:
        """Drop what was recorded after `round` rounds; it will be recorded again."""
        kept = [record for record in self.metrics() if record["round"] <= round]
        with on_disk(self._metrics):
            replace_file(self._metrics, "".join(json.dumps(record) + "\n" for record in kept).encode())
        return kept

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Make this the checkpoint; until it is whole, the one before it stands.

        Raises:
            RunError: it cannot be written, for example because the disk is full.
        """
        import safetensors.torch

        blob = safetensors.torch.save(
            {name: tensor.detach().cpu().clone() for name, tensor in checkpoint.tensors.items()}
        )
        name = f"round-{checkpoint.round:07d}.safetensors"
        manifest = {
            "format": FORMAT,
            "round": checkpoint.round,
            "file": name,
            "sha256": hashlib.sha256(blob).hexdigest(),
            "pending": checkpoint.pending,
        }
        with on_disk(self._checkpoint):
            self._checkpoint.mkdir(exist_ok=True)
            if self._metrics.exists():
                _flush(self._metrics)
            replace_file(self._checkpoint / name, blob)
            replace_file(self._checkpoint / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())
            for other in self._checkpoint.iterdir():
                if other.name not in (name, "manifest.json"):
                    other.unlink()

    def load_checkpoint(self) -> Checkpoint | None:
        """The checkpoint, or None if there is none yet.

        Raises:
            InputError: it is damaged.
        """
        import safetensors.torch

        file = self._checkpoint / "manifest.json"
        if not file.exists():
            return None
        again = f"restore it from a copy, or start the run anew: fedsam run {self.path / 'run.json'} out=NEW"
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
            blob = (self._checkpoint / manifest["file"]).read_bytes()
            if hashlib.sha256(blob).hexdigest() != manifest["sha256"]:
                raise InputError(
                    "",
                    InputError.ABSENT,
                    f"{self._checkpoint / manifest['file']} is damaged (its sha256 is not the manifest's); {again}",
                )
            return Checkpoint(manifest["round"], safetensors.torch.load(blob), manifest["pending"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError("", InputError.ABSENT, f"{file} cannot be read ({error}); {again}") from None

    def save_model(self, blob: bytes) -> None:
        """Write model.safetensors."""
        with on_disk(self.path):
            replace_file(self.path / "model.safetensors", blob)


def must_be_free(path: Path) -> None:
    """Refuse a path at which there is something other than an empty directory.

    Raises:
        InputError: with what to do instead.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        resumable = (
            f"continue it with fedsam run --resume {path}, or choose another out"
            if (path / "run.json").exists()
            else "choose another out"
        )
        raise InputError("out", str(path), f"exists already; {resumable}")


def fresh_path(parent: Path, title: str) -> Path:
    """`parent/title`, or with the first number behind it that is not taken."""
    path, number = parent / title, 1
    while path.exists():
        number += 1
        path = parent / f"{title}-{number}"
    return path


def replace_file(path: Path, content: bytes) -> None:
    """Write a file to the side, flush it to the disk and rename it."""
    aside = path.with_name(f".{path.name}.writing")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Say in one line that a file could not be written, and why.

    Raises:
        RunError: it could not.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(
            f"cannot write {error.filename or path}: {reason}; make room or fix the path, nothing saved before is lost"
        ) from error
