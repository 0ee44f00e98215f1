"""Files that must survive a crash and harm nothing that is not ours: written to the side, flushed, renamed; read with
one line that names the file where it is not what it should be.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import Any

from fedsam.errors import Damaged, RunError

ASIDE = r"\.({})(\.[0-9a-f]+)?\.writing"


def replace_file(path: Path, content: bytes) -> None:
    """Write a file to the side, flush it to the disk and rename it; as `replace_in_pieces`."""
    replace_in_pieces(path, (content,))


def replace_in_pieces(path: Path, pieces: Iterable[bytes | memoryview]) -> str:
    """Write a file to the side, piece by piece, flush it to the disk and rename it; return the sha256 of all pieces.

    The file at the side has a name that no one else has, so that nothing is ever written through a link. If `path` is a
    link, the link is replaced, not what it points to.
    """
    sum = hashlib.sha256()
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.writing")
    try:
        with aside.open("xb") as file:
            for piece in pieces:
                file.write(piece)
                sum.update(piece)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    flush(path.parent)
    return sum.hexdigest()


def sha256_of(path: Path) -> str:
    """The sha256 of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Flush a file or a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append(path: Path, content: bytes) -> None:
    """Add to a file, which must be no link."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    with os.fdopen(descriptor, "ab") as file:
        file.write(content)


def remove(folder: Path, pattern: str) -> None:
    """Remove the files of a folder whose whole name matches a regular expression.

    Only plain files are removed, and only in a real folder: what a link points to stays as it is. A file that cannot be
    removed stays, too.
    """
    if folder.is_symlink():
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if re.fullmatch(pattern, entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    Path(entry.path).unlink()


def leftovers(names: Iterable[str]) -> str:
    """A regular expression for what a process that was killed leaves of files that it was about to write.

    Args:
        names: of these files, as regular expressions.
    """
    return ASIDE.format("|".join(names))


def is_plain(path: Path) -> bool:
    """Whether there is a plain file, and no link to one."""
    try:
        return S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def read_object(file: Path, cure: str) -> dict[str, Any]:
    """A file that holds one JSON object.

    Args:
        cure: what to do where it does not, as the end of a sentence.

    Raises:
        FileNotFoundError: there is no such file.
        Damaged: it cannot be read.
    """
    try:
        found = json.loads(file.read_bytes().decode())
    except FileNotFoundError:
        raise
    except RecursionError:
        raise damaged(file, "it is nested too deeply", cure) from None
    except (OSError, ValueError) as error:
        raise damaged(file, getattr(error, "strerror", None) or str(error), cure) from None
    if not isinstance(found, dict):
        raise damaged(file, "it is no JSON object", cure)
    return found


def damaged(file: Path, what: str, cure: str) -> Damaged:
    """The error of a file that is not what was written."""
    return Damaged(f"{file} cannot be read ({what}); {cure}")


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Say in one line that a file could not be written, and why.

    Raises:
        RunError: it could not.
    """
    try:
        yield
    except OSError as error:
        reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror or str(error)
        raise RunError(
            f"cannot write {error.filename or path}: {reason}; make room or fix the path, nothing saved before is lost"
        ) from error
