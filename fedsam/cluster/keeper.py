"""Ends what is left of a Ray cluster whose owner is gone, and removes its folder.

Beside each cluster that is started here runs this file as a script of its own (`python keeper.py FOLDER`), on the
standard library alone. It waits for the lock that the owner holds on the folder, which the system releases however the
owner ends: by itself, by a signal, or by SIGKILL. What then still belongs to the folder is ended, for Ray leaves agents
behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where the folder is removed by its owner alone
    fcntl = None  # type: ignore[assignment]

PREFIX = "fedsam-ray-"
MARK = "FEDSAM_CLUSTER"
"""The environment variable that says which cluster a process belongs to: the path of its folder."""
LOCK = "owner"
ORDERLY = "orderly"
"""A file that an owner leaves in its folder before it gives up the lock: it has ended by itself."""
LONGEST = 107 - len("/fedsam-ray-12345678/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""Letters of a folder below which Ray's sockets still have names that the system takes."""


def parent() -> Path:
    """Where the folders of clusters are: the system's temporary directory, if its name is short enough for sockets."""
    found = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()).absolute()
    return found if len(os.fsencode(found)) <= LONGEST else Path("/tmp")


def make() -> tuple[Path, int]:
    """A new folder that only this user may enter, and its lock: an open file, which stays open until it is closed."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent()))
    lock = os.open(folder / f".{LOCK}", os.O_WRONLY | os.O_CREAT, 0o600)
    if fcntl:
        fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(lock, str(os.getpid()).encode())
    os.rename(folder / f".{LOCK}", folder / LOCK)  # from now on a lock that is free means that its owner is gone
    return folder, lock


def give_up(folder: Path, lock: int) -> None:
    """Release the lock of a folder as its owner, who has ended by itself."""
    (folder / ORDERLY).touch()
    os.close(lock)


def start(folder: Path) -> subprocess.Popen[bytes]:
    """This file at work beside its parent, for a folder."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,  # or what ends its parent's group, a terminal for one, would end it as well
    )


def clear_dead() -> list[tuple[Path, int]]:
    """Clear away this user's clusters whose owner and keeper are both gone: each folder, and how many processes.

    A folder whose owner has just ended by itself may be found before its keeper has the lock. Nothing is told of it.
    """
    cleared: list[tuple[Path, int]] = []
    for folder in parent().glob(f"{PREFIX}*") if fcntl else []:
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            with (folder / LOCK).open("r+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                orderly = (folder / ORDERLY).exists()
                ended = clear(folder)
                if not orderly:
                    cleared.append((folder, ended))
        except OSError:  # its owner or keeper is there, or it has just gone
            continue
    return cleared


def clear(folder: Path) -> int:
    """End the processes of a cluster, and remove its folder; how many were ended."""
    ended = end(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return ended


def end(folder: Path) -> int:
    """End the processes of a cluster, those included that they start meanwhile; how many there were."""
    ended: set[int] = set()
    until = time.monotonic() + 30.0
    while (found := members(folder)) and time.monotonic() < until:
        for pid in found:
            _kill(pid, folder)
        ended |= found
        time.sleep(0.05)
    return len(ended)


def members(folder: Path) -> set[int]:
    """The processes of a cluster but for its owner; none where the system does not show them."""
    found = {int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _belongs(int(entry.name), folder)}
    return found - owner(folder)


def owner(folder: Path) -> set[int]:
    """The process that a cluster belongs to; empty if it is not known."""
    try:
        return {int((folder / LOCK).read_text(encoding="utf-8"))}
    except (OSError, ValueError):
        return set()


def runs(folder: Path, name: str) -> bool:
    """Whether a process of a cluster with this name runs; always so where the system does not show it."""
    if not Path("/proc/self/environ").exists():
        return True
    return any(_name(pid) == name for pid in members(folder))


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _belongs(pid: int, folder: Path) -> bool:
    """By its environment; or, as processes of Ray write their title over that, by raylet's log, which all below it have
    open.
    """
    process = Path(f"/proc/{pid}")
    try:
        if f"{MARK}={folder}".encode() in (process / "environ").read_bytes().split(b"\0"):
            return True
        open_files = [_target(entry) for entry in (process / "fd").iterdir()]
    except OSError:  # another user's, or gone
        return False
    return any(path.startswith(f"{folder}/") and "/logs/raylet." in path for path in open_files)


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:  # closed meanwhile
        return ""


def _kill(pid: int, folder: Path) -> None:
    if _belongs(pid, folder):  # looked at once more, for the number may be another's by now
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def main(folder: Path) -> None:
    """Wait for the end of the owner; then clear away."""
    with (folder / LOCK).open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        clear(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
