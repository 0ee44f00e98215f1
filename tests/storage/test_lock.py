"""One process at a time: runs, sweeps and tunings are locked, by whom is said, and the dead hold nothing."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import fedsam.sweeps.sweep
from fedsam import InputError, Run, RunError, resume, simulate
from fedsam.errors import Busy, Interrupted
from fedsam.runs.directory import claimed, fresh
from fedsam.runs.result import Listener
from fedsam.storage import lock as module
from fedsam.storage.lock import FILE, locked
from tests.support.commands import FEDSAM, failing
from tests.support.interrupted import StopAt, described, outcome, swept

HOLD = (
    "import sys; from pathlib import Path; from fedsam.storage.lock import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
)
WITH_CHILD = (
    "import os, subprocess, sys; from pathlib import Path; from fedsam.storage.lock import locked\n"
    "with locked(Path(sys.argv[1])):\n"
    "    child = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'], stdin=subprocess.PIPE)\n"
    "    there, begun = os.pipe()\n"
    "    fork = os.fork()\n"
    "    if not fork:\n"
    "        os.write(begun, b'.'); sys.stdin.read(); os._exit(0)\n"
    "    os.read(there, 1)  # it goes its own way by now\n"
    "    print(fork, child.pid, flush=True); os.kill(os.getpid(), 9)\n"
)


@contextmanager
def holder(path: Path, code: str = HOLD) -> Iterator[subprocess.Popen[str]]:
    """Another process that has locked a directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_second_process_is_told_who_is_at_work(tmp_path: Path) -> None:
    with holder(tmp_path / "d") as process:
        said = rf"d is in use by process {process.pid} on {socket.gethostname()} \(-c .*\); wait until it has ended"
        with pytest.raises(Busy, match=said), locked(tmp_path / "d"):
            pass
        process.kill()
        process.wait()
        assert (tmp_path / "d" / FILE).exists()  # it could not remove it
        with locked(tmp_path / "d"):
            pass
    assert not (tmp_path / "d" / FILE).exists()


def test_children_of_a_dead_process_do_not_keep_its_lock(tmp_path: Path) -> None:
    with holder(tmp_path / "d", WITH_CHILD) as process:
        process.wait()
        with locked(tmp_path / "d"):
            pass


def test_threads_are_kept_apart(tmp_path: Path) -> None:
    found: list[str] = []

    def other() -> None:
        try:
            with locked(tmp_path / "d"):
                found.append("locked")
        except Busy as error:
            found.append(str(error))

    with locked(tmp_path / "d"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert f"in use by process {os.getpid()}" in found[0]
    other()
    assert found[1:] == ["locked"]
    assert not (tmp_path / "d").exists()  # nothing was put in it


def test_a_file_that_was_removed_before_it_was_locked_locks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening and locking it, its holder ends and removes it; a third process makes another."""
    real, times = module.fcntl.flock, 0

    def flock(descriptor: int, operation: int) -> None:
        nonlocal times
        times += 1
        if times == 1:
            (tmp_path / FILE).unlink()
            (tmp_path / FILE).touch()
        real(descriptor, operation)

    monkeypatch.setattr(module.fcntl, "flock", flock)
    with locked(tmp_path):
        assert times == 2
        with pytest.raises(Busy), locked(tmp_path):
            pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_nothing_can_be_locked_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module.fcntl, "flock", flock)
    with locked(tmp_path), locked(tmp_path):
        assert f"{tmp_path} cannot be locked ({os.strerror(number)}): see to it" in caplog.text


def test_a_lock_left_on_another_machine_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_text('{"pid": 7, "host": "elsewhere", "command": "fedsam run"}')
    with locked(tmp_path):
        assert "over from process 7 on elsewhere (fedsam run), which left it locked" in caplog.text


def test_a_run_that_goes_on_cannot_be_resumed(tmp_path: Path) -> None:
    out, refused = tmp_path / "run", []

    class Meddles(Listener):
        def round(self, done: int) -> None:
            if done in (1, 5):
                with pytest.raises(Busy) as caught:
                    resume(out)
                refused.append(caught.value)

    simulate(described(out), Meddles())
    simulate(described(tmp_path / "alone"))
    assert len(refused) == 2
    assert outcome(out) == outcome(tmp_path / "alone")


def test_the_same_commands_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, listener = tmp_path / "run", StopAt(4)
    with pytest.raises(Interrupted):
        simulate(described(out), listener, listener.stop)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    with holder(out):
        status, err = failing(capsys, "run", "--resume", str(out))
        assert (status, err.count("\n")) == (1, 1)
        assert "is in use by process" in err
        (out / FILE).unlink()
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    with holder(tmp_path / "s"), pytest.raises(Busy, match="s is in use by process"):
        swept(tmp_path / "s")
    with holder(tmp_path / "new"):
        status, err = failing(capsys, "run", f"out={tmp_path / 'new'}")
        assert (status, "is in use by process" in err) == (1, True)


def test_a_locked_run_of_a_sweep_has_failed_and_the_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fedsam.sweeps.sweep, "PATIENCE", 0.0)
    monkeypatch.setattr(fedsam.sweeps.sweep, "PAUSE", 0.0)
    keys = {"client.name": "sgd,sam", "client.rho": "0.3"}
    said = r"1 of 4 runs failed: client\.name=sam, seed 1: .* is in use by process"
    with holder(tmp_path / "s" / "sam-seed1"), pytest.raises(RunError, match=said):
        swept(tmp_path / "s", **keys)
    swept(tmp_path / "s", **keys)


def test_what_a_start_that_was_killed_has_left_is_free(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    for name in (FILE, ".run.json.writing", ".run.json.0123abcd.writing"):
        (out / name).write_text("")
    simulate(described(out).replace(rounds=6))
    assert sorted(child.name for child in out.iterdir()) == [
        "checkpoint",
        "metrics.jsonl",
        "model.safetensors",
        "partition.json",
        "run.json",
    ]
    (out / "partition.json").unlink()
    resume(out)
    assert (out / "partition.json").exists()


def test_a_run_that_cannot_be_built_leaves_nothing(tmp_path: Path) -> None:
    run = Run.from_keys({"data.samples_per_client": 10**6, "out": str(tmp_path / "a" / "b")})
    with pytest.raises(InputError):
        simulate(run)
    assert not list(tmp_path.iterdir())


def test_fresh_directories_are_never_given_twice(tmp_path: Path) -> None:
    with fresh(tmp_path / "runs", "x") as first, fresh(tmp_path / "runs", "x") as second:
        assert (first.name, second.name) == ("x", "x-2")
        with claimed(first):
            (first / "something").touch()
    assert [child.name for child in (tmp_path / "runs").iterdir()] == ["x"]
    (first / "something").unlink()
    shutil.rmtree(tmp_path / "runs")
    with fresh(tmp_path / "runs", "x"):
        pass
    assert not list(tmp_path.iterdir())


def test_those_who_look_at_the_same_moment_are_given_different_directories(tmp_path: Path) -> None:
    ready, found = threading.Barrier(8), []

    def one() -> None:
        ready.wait()
        with fresh(tmp_path / "runs", "x") as path, claimed(path):
            (path / "run.json").touch()
            found.append(path.name)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(["x", *(f"x-{number}" for number in range(2, 9))])


@pytest.mark.slow
def test_an_array_of_jobs_has_a_directory_each(inside: Path) -> None:
    """Started at the same moment: with one name for two of them, with another for the third."""
    keys = ["rounds=2", "data.clients=4", "cohort=2", "client.epochs=1", "client.name=sam"]
    jobs = [
        subprocess.Popen([*FEDSAM, "run", "-q", *keys, f"client.rho={rho}"], stdout=subprocess.DEVNULL)
        for rho in (0.2, 0.2, 0.3)
    ]
    assert [job.wait() for job in jobs] == [0, 0, 0]
    found = sorted(path.name for path in (inside / "runs").iterdir() if path.is_dir())
    stem = "digits-sam-fedavg-epochs1-rho{}-clients4-rounds2-cohort2-seed0"
    assert found == [stem.format(0.2), stem.format(0.2) + "-2", stem.format(0.3)]
    assert all((inside / "runs" / name / "model.safetensors").exists() for name in found)
