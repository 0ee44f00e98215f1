"""The run directory: run.json, metrics.jsonl, checkpoint/ and model.safetensors.

Everything that must survive a crash is written to the side, flushed to the disk and renamed. The checkpoint's manifest
names the one file that belongs to it and that file's checksum, how many records there are and theirs, and in the end
those of the files that the run ended in; replacing the manifest is the moment at which a new checkpoint exists.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from fedsam.border.foreign import must_be_own
from fedsam.errors import Damaged, InputError
from fedsam.run import Run, digest_of
from fedsam.runs.checkpoint import KEPT, Checkpoint, again
from fedsam.runs.manifest import FILE as MANIFEST
from fedsam.runs.manifest import Manifest, read_manifest
from fedsam.runs.records import FILE as METRICS
from fedsam.runs.records import Record, Records, read, upto
from fedsam.storage.files import (
    append,
    damaged,
    is_plain,
    leftovers,
    on_disk,
    read_object,
    remove,
    replace_file,
    replace_in_pieces,
    sha256_of,
)
from fedsam.storage.lock import FILE as LOCK
from fedsam.storage.lock import locked
from fedsam.storage.tensors import Rows, decoded, encoded

FORMAT = 1
MODEL, CLIENTS = "model.safetensors", "clients.json"
BEGUN = leftovers(["run\\.json"])
"""What a process leaves that was killed before there was a run."""
TENSORS = r"round-\d+\.safetensors"


class RunDirectory:
    """A run directory that exists."""

    def __init__(self, path: Path, description: Mapping[str, Any] | None = None) -> None:
        self.path, self.description = path, description or {}
        self._folder = path / "checkpoint"
        self._records = Records(path / METRICS)
        self._manifest: Manifest | None = None

    @classmethod
    def create(
        cls,
        path: Path,
        run: Run,
        environment: Mapping[str, Any],
        fingerprint: Mapping[str, Any] | None = None,
        splits: Mapping[str, int] | None = None,
    ) -> RunDirectory:
        """Make a new run directory.

        Args:
            fingerprint: of data and model; see `fedsam.runs.fingerprint`.
            splits: on which examples it is measured, and how many they are.

        Raises:
            InputError: there is something at `path` already.
        """
        must_be_free(path)
        description = {"format": FORMAT, "keys": run.keys(), "digest": run.digest(), "environment": environment}
        description |= {"metrics": [asdict(score) for score in run.learnt.scores]}
        description |= {"splits": dict(splits)} if splits else {}
        description |= {"fingerprint": fingerprint} if fingerprint else {}
        with on_disk(path):
            path.mkdir(parents=True, exist_ok=True)
            remove(path, BEGUN)
            replace_file(path / "run.json", (json.dumps(description, indent=2) + "\n").encode())
        return cls(path, description)

    @classmethod
    def open(cls, path: Path) -> tuple[RunDirectory, Run]:
        """Open a run directory, and read the run that it describes.

        Raises:
            InputError: it is none, its run.json cannot be read, or it is another user's and not trusted.
        """
        file = path / "run.json"
        must_be_own(path, file)
        try:
            description = read_object(file, "restore it from a copy, or start the run anew with another out")
        except FileNotFoundError:
            begun = path.is_dir() and path.exists() and _begun(path) and any(path.iterdir())
            cure = "; it was killed before it began, start it again with the same out" if begun else ""
            allowed = f"{path} is not a run directory: there is no run.json in it{cure}"
            raise InputError("", InputError.ABSENT, allowed) from None
        if description.get("format") != FORMAT:
            written = f"{file} has format {description.get('format')}, this version of fedsam reads format {FORMAT}"
            raise InputError("", InputError.ABSENT, written)
        keys = description.get("keys")
        if not isinstance(keys, dict) or digest_of(keys) != description.get("digest"):
            what = f"{file} was changed: its keys do not match its digest; restore it or start anew"
            raise Damaged(what)
        for name in ("environment", "fingerprint"):
            held = description.get(name, {})
            inner = [held.get(part, {}) for part in ("hardware", "versions")] if isinstance(held, dict) else [None]
            if not all(isinstance(part, dict) for part in inner):
                raise damaged(file, f"its {name} is no object of objects", again(path))
        try:
            return cls(path, description), Run.from_keys(keys)
        except InputError as error:
            raise InputError(error.key, error.given, f"{error.allowed} (in {file})") from None

    def environment(self) -> dict[str, Any]:
        """What the run was started on."""
        return dict(self.description.get("environment", {}))

    def fingerprint(self) -> dict[str, Any]:
        """That of data and model when the run was started; empty where that was before it was taken."""
        return dict(self.description.get("fingerprint", {}))

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file of this name."""
        with on_disk(self.path / name):
            replace_file(self.path / name, _encoded(content))

    def append(self, record: Record) -> None:
        """Add a line to metrics.jsonl."""
        self._records.append(record)

    def append_failure(self, text: str) -> None:
        """Add a client's error, with its traceback, to failures.log."""
        file = self.path / "failures.log"
        with on_disk(file):
            append(file, (text.rstrip() + "\n\n").encode(errors="replace"))

    def metrics(self) -> list[Record]:
        """The recorded rounds, also those behind the checkpoint; a last line that was cut off is left out.

        Raises:
            Damaged: they are not those that were recorded.
        """
        manifest = self.manifest()
        return read(self.path / METRICS, manifest.records if manifest else None, again(self.path), tail=True)

    def manifest(self) -> Manifest | None:
        """What the checkpoint says of itself, None if there is none yet.

        Raises:
            Damaged: it cannot be read.
        """
        return read_manifest(self._folder, again(self.path))

    def rewind(self, checkpoint: Checkpoint | None, due: Callable[[int], bool]) -> list[Record]:
        """The records up to a checkpoint; what was recorded after it is dropped, and will be recorded again.

        Args:
            checkpoint: None = the beginning.
            due: whether a round must have been recorded.

        Raises:
            Damaged: they are not those that were recorded.
        """
        file, (kept, lines) = self.path / METRICS, self.kept(checkpoint, due)
        if file.is_symlink():
            raise damaged(file, "it is a symbolic link", "put the file itself there")
        self._records = Records(file, lines)
        with on_disk(file):
            replace_file(file, b"".join(lines))
        return kept

    def kept(self, checkpoint: Checkpoint | None, due: Callable[[int], bool]) -> tuple[list[Record], list[bytes]]:
        """The records that `rewind` keeps, and their lines."""
        if checkpoint is None:
            return [], []
        return upto(self.path / METRICS, checkpoint.round, checkpoint.records, due, again(self.path))

    def finished(self, rounds: int, due: Callable[[int], bool]) -> list[Record] | None:
        """The records of the run if it has come to its end and all that it ended in is there, else None.

        Args:
            rounds: of the run.
            due: whether a round must have been recorded.

        Raises:
            Damaged: it has, but the records are not those that were recorded.
        """
        manifest = self.manifest()
        if not (self.path / MODEL).exists() or (manifest and manifest.round < rounds):
            return None
        counted = manifest.records if manifest else None
        if manifest and counted:
            whole = MODEL in manifest.files and all(self._sum(name) == sum for name, sum in manifest.files.items())
        else:  # written before there were such sums
            whole = _is_whole(self.path / MODEL)
        return upto(self.path / METRICS, rounds, counted, due, again(self.path))[0] if whole else None

    def _sum(self, name: str) -> str:
        try:
            return hashlib.sha256((self.path / name).read_bytes()).hexdigest()
        except OSError:
            return ""

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Make this the checkpoint; until it is whole, the one before it stands.

        Raises:
            Damaged: its folder is a link.
            RunError: it cannot be written, for example because the disk is full.
        """
        manifest = Manifest(checkpoint.round, "", checkpoint.pending, self._records.tally())
        self.check_folder()
        with on_disk(self._folder):
            self._folder.mkdir(exist_ok=True)
            pieces = encoded({**checkpoint.tensors, **checkpoint.kept})
            sum = replace_in_pieces(self._folder / manifest.file, pieces)
        self._replace(replace(manifest, sha256=sum))

    def _replace(self, manifest: Manifest) -> None:
        with on_disk(self._folder):
            content = json.dumps(manifest.as_json(), indent=2) + "\n"
            replace_file(self._folder / MANIFEST, content.encode())
        self._manifest = manifest
        old = rf"(?!{manifest.file}$){TENSORS}"
        remove(self._folder, f"{old}|{leftovers([TENSORS, MANIFEST])}")

    def check_folder(self) -> None:
        """Refuse a folder of checkpoints that is a link, or no folder: it is not ours to write and to clean up.

        Raises:
            Damaged: it is.
        """
        linked = self._folder.is_symlink()
        if linked or (self._folder.exists() and not self._folder.is_dir()):
            what = "it is a symbolic link" if linked else "it is no folder"
            raise damaged(self._folder, what, "put the folder itself there")

    def load_checkpoint(self) -> Checkpoint | None:
        """The checkpoint, or None if there is none yet.

        Raises:
            Damaged: it is damaged.
        """
        import safetensors

        manifest, vouched = self.manifest(), False
        tensors, kept = dict[str, Tensor](), dict[str, Rows]()
        while manifest is not None:
            file, cure = self._folder / manifest.file, again(self.path)
            try:
                if vouched := sha256_of(file) == manifest.sha256:
                    tensors, kept = decoded(file, KEPT)
                break
            except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
                raise damaged(file, str(error), cure) from None
            except (OSError, RuntimeError) as error:  # torch, which opens it too, calls everything the latter
                before, manifest = manifest, self.manifest()  # a run that goes on has replaced both
                if before == manifest:
                    raise damaged(file, getattr(error, "strerror", None) or str(error).splitlines()[0], cure) from None
        if manifest is not None and not vouched:
            raise Damaged(f"{file} is damaged (its sha256 is not the manifest's); {cure}")
        if manifest is None:
            return None
        self._manifest = manifest
        return Checkpoint(manifest.round, tensors, manifest.pending, manifest.records, kept)

    def finish(self, model: bytes, local: dict[str, Any] | None) -> None:
        """Write model.safetensors, and clients.json where there is something to write, and have the checkpoint vouch
        for them: from then on the run is finished.
        """
        self._records.check()
        contents = {MODEL: model} | ({CLIENTS: _encoded(local)} if local else {})
        for name, content in contents.items():
            with on_disk(self.path / name):
                replace_file(self.path / name, content)
        if self._manifest is not None:
            files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
            self._replace(replace(self._manifest, files=files, records=self._records.tally()))

    def model(self) -> bytes | None:
        """What is in model.safetensors; None if it is not there.

        Raises:
            Damaged: it is not what was written.
        """
        file, manifest = self.path / MODEL, self.manifest()
        cure = f"fedsam run --resume {self.path} writes it again"
        try:
            blob = file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise damaged(file, str(error.strerror), cure) from None
        if manifest and manifest.files.get(MODEL, sum := hashlib.sha256(blob).hexdigest()) != sum:
            raise Damaged(f"{file} is not this run's model (its sha256 is not that of the one it ended in); {cure}")
        return blob

    def take_up(self) -> Checkpoint | None:
        """The checkpoint that a run goes on from, None for the beginning; what a process left that was killed while it
        wrote is removed. To be called under the directory's lock.

        Raises:
            Damaged: it is damaged, or not there although the run had come to its end.
        """
        self.check_folder()
        names = "run.json", "partition.json", METRICS, MODEL, CLIENTS
        remove(self.path, leftovers(re.escape(name) for name in names))
        checkpoint = self.load_checkpoint()
        if checkpoint is None and (self.path / MODEL).exists():
            what = f"{self.path} holds a model, but no checkpoint to go on from; {again(self.path)}"
            raise Damaged(what)
        return checkpoint


def _encoded(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, allow_nan=False) + "\n").encode()


def _is_whole(file: Path) -> bool:
    """Whether a file of tensors is as long as it says."""
    import safetensors

    try:
        with safetensors.safe_open(file, framework="pt"):
            return True
    except (safetensors.SafetensorError, OSError):
        return False


def must_be_free(path: Path) -> None:
    """Refuse a path at which there is something other than an empty directory; what a process has left there that was
    killed before its run began does not count.

    Raises:
        InputError: with what to do instead.
    """
    if path.exists() and not (path.is_dir() and _begun(path)):
        resumable = (
            f"continue it with fedsam run --resume {path}, or choose another out"
            if (path / "run.json").exists()
            else "choose another out"
        )
        raise InputError("out", str(path), f"exists already; {resumable}")


def _begun(path: Path) -> bool:
    """Whether nothing is in a directory but what a process leaves that was killed before its run began."""
    allowed = re.compile(f"{re.escape(LOCK)}|{BEGUN}")
    return all(allowed.fullmatch(child.name) and is_plain(child) for child in path.iterdir())


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Inside, a directory for a new run is this one's alone; if nothing is put in it, it is removed again.

    Raises:
        InputError: there is something at `path` already.
        Busy: another process has claimed it.
    """
    must_be_free(path)
    with locked(path):
        must_be_free(path)
        yield


@contextmanager
def fresh(parent: Path, title: str) -> Iterator[Path]:
    """A new directory: `parent/title`, or with the first number behind it that is not taken; no two processes that look
    at the same time are given the same. If nothing is put in it, it is removed again.
    """
    number, path, made = 1, parent / title, not parent.exists()
    with on_disk(path):
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                path.mkdir()
                break
            except FileExistsError:
                number += 1
                path = parent / f"{title}-{number}"
    try:
        yield path
    finally:
        with suppress(OSError):
            path.rmdir()
            if made:
                parent.rmdir()
