"""Processes: Flower as several of them on the loopback interface, what a process has started, where it listens."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def clusters_apart() -> Iterator[None]:
    """Inside, clusters of Ray that are started here have a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tempfile.mkdtemp(prefix="fs-", dir="/tmp")  # short, for Ray's sockets
        patch.setenv("RAY_TMPDIR", folder)
        yield
        shutil.rmtree(folder, ignore_errors=True)


class Processes:
    """What is started here, in an environment of its own; all of it is ended with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        home = folder / "flwr"
        home.mkdir()
        self.environment = {
            **os.environ,
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{name}.log").open("wb")
        process = subprocess.Popen(
            arguments, stdout=log, stderr=subprocess.STDOUT, env=self.environment, cwd=ROOT, start_new_session=True
        )
        log.close()
        self.started.append(process)
        return process

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def superlink(self, name: str, address: str) -> None:
        config = self.folder / "flwr" / "config.toml"
        config.write_text(f'[superlink.{name}]\naddress = "{address}"\ninsecure = true\n')

    def end(self) -> None:
        for process in self.started:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            process.wait()


def wait_for(process: subprocess.Popen[bytes], seconds: float, what: Path | None = None) -> None:
    """Until the process has ended, or `what` is there."""
    end = time.monotonic() + seconds
    while process.poll() is None and not (what is not None and what.exists() and what.stat().st_size):
        assert time.monotonic() < end, "took too long"
        time.sleep(0.2)


def wait_for_an_answer_at(port: int) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < end, "nothing listens"
            time.sleep(0.1)


def descendants(pid: int) -> dict[str, int]:
    """Those of a process, by name."""
    found: dict[str, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
            if int(rest.split()[1]) == pid:
                found |= {name: int(entry.name), **descendants(int(entry.name))}
        except OSError:
            continue
    return found


def listening(pids: set[int]) -> set[str]:
    """The addresses at which processes listen, in the kernel's hexadecimal."""
    sockets = set()
    for pid in pids:
        sockets |= {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].partition(":")[0])
    return found


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
