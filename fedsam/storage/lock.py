"""One process at a time in a directory: a lock that the kernel gives back when its holder dies, however it dies.

It is `flock` on the file `.lock`, in which the holder writes who it is. Linux hands such locks on to an NFS server, so
that they hold between machines where the server can lock; where a file system cannot, it is said, and nothing is
locked.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fedsam.errors import Busy
from fedsam.storage.files import on_disk

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("fedsam")

FILE = ".lock"
HELD = {errno.EAGAIN, errno.EACCES}
IMPOSSIBLE = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
SHOWN = 100  # letters of a command

_open: set[int] = set()  # descriptors of this process, which its children must not keep


def _forget() -> None:
    for descriptor in _open:
        with suppress(OSError):
            os.close(descriptor)  # the parent still has it: its lock stays
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Inside, this thread alone is at work in a directory, which is made if it is not there.

    A directory that was made and in which nothing was put is removed again.

    Raises:
        Busy: another process, or another thread of this one, is.
        RunError: nothing can be written there.
    """
    with on_disk(path):
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        descriptor = _taken(path)
    try:
        yield
    finally:
        if descriptor in _open:  # in a child of this process it is not
            try:
                _leave(path, descriptor, made)
            finally:
                _open.discard(descriptor)
                os.close(descriptor)


def _leave(path: Path, descriptor: int, made: list[Path]) -> None:
    with suppress(OSError):
        if os.path.samestat(os.fstat(descriptor), (path / FILE).lstat()):
            (path / FILE).unlink()  # while it is locked, so that it is nobody else's
    with suppress(OSError):
        for folder in made:
            folder.rmdir()  # which fails where something is in it


def _taken(path: Path) -> int:
    """The descriptor of the directory's file, locked."""
    while True:
        path.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path / FILE, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        except FileNotFoundError:  # the directory was removed by the process that had made it
            continue
        try:
            if _is_ours(path, descriptor):
                _open.add(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_ours(path: Path, descriptor: int) -> bool:
    """Lock an open file; whether it is still the one in the directory."""
    try:
        if fcntl is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            raise _busy(path, _holder(descriptor)) from None
        if error.errno not in IMPOSSIBLE:
            raise
        log.warning("%s cannot be locked (%s): see to it that no other process works in it", path, error.strerror)
    try:
        if not os.path.samestat(os.fstat(descriptor), (path / FILE).lstat()):
            return False
    except FileNotFoundError:
        return False
    before, me = _holder(descriptor), _me()
    if before and before.get("host") != me["host"]:
        log.warning("taking %s over from %s, which left it locked: see to it that it is gone", path, _words(before))
    text = json.dumps(me).encode().ljust(os.fstat(descriptor).st_size)  # cutting it would have it flushed to the disk
    os.pwrite(descriptor, text, 0)
    return True


def _me() -> dict[str, Any]:
    program = Path(*sys.argv[:1])
    command = shlex.join([program.parent.name if program.name == "__main__.py" else program.name, *sys.argv[1:]])
    return {"pid": os.getpid(), "host": socket.gethostname(), "command": command[:SHOWN]}


def _holder(descriptor: int) -> dict[str, Any]:
    """What the file says of who has it; empty where it says nothing, as in the moment after it was locked."""
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _words(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    command = f" ({holder['command']})" if holder.get("command") else ""
    return f"process {holder.get('pid')} on {holder.get('host')}{command}"


def _busy(path: Path, holder: dict[str, Any]) -> Busy:
    return Busy(f"{path} is in use by {_words(holder)}; wait until it has ended, or stop it first")
