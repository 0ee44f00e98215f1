"""Resuming: a run that was killed at any moment ends in the same bytes as one that never stopped."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import torch

from fedsam import InputError, RunError, resume, simulate
from fedsam.errors import Interrupted
from fedsam.optim.sgd import SGD
from fedsam.runs.directory import RunDirectory
from fedsam.runs.result import Listener, Result
from tests.support.commands import FEDSAM, ending
from tests.support.interrupted import StopAt, described, outcome


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    simulate(described(out))
    return out


@pytest.mark.parametrize("at", [1, 5, 6, 7, 11])
def test_a_stopped_run_ends_in_the_same_bytes(tmp_path: Path, undisturbed: Path, at: int) -> None:
    out = tmp_path / "run"
    listener = StopAt(at)
    with pytest.raises(Interrupted, match=f"stopped after round {at} of 12; continue with: fedsam run --resume {out}"):
        simulate(described(out), listener, listener.stop)
    result = resume(out)
    assert outcome(out) == outcome(undisturbed)
    assert [record["round"] for record in result.metrics] == [3, 6, 9, 12]


class Crash(BaseException):
    """The process is gone: nothing after this line runs."""


def test_a_crash_at_any_write_ends_in_the_same_bytes(
    tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that makes something durable is made the last one, in turn."""
    expected, number, points = outcome(undisturbed), 0, 0
    whole = sorted(child.name for child in undisturbed.iterdir())
    real_sync, real_replace, real_unlink = os.fsync, Path.replace, Path.unlink
    while True:
        calls = 0

        def crash_here(limit: int = number) -> None:
            nonlocal calls
            calls += 1
            if calls > limit:
                raise Crash

        def sync(descriptor: int) -> None:
            crash_here()
            real_sync(descriptor)

        def replace(self: Path, target: Path) -> Path:
            crash_here()
            return real_replace(self, target)

        def unlink(self: Path, missing_ok: bool = False) -> None:
            crash_here()
            real_unlink(self, missing_ok)

        out = tmp_path / f"run{number}"
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", sync)
            patch.setattr(Path, "replace", replace)
            patch.setattr(Path, "unlink", unlink)
            try:
                simulate(described(out))
                break
            except Crash:
                points += 1
        if (out / "run.json").exists():
            resume(out)
        else:
            simulate(described(out))
        assert outcome(out) == expected, f"after a crash at write {number}"
        assert sorted(child.name for child in out.iterdir()) == whole
        number += 1 if number < 12 else 5
    assert points > 15


def test_a_cut_off_line_of_metrics_is_recorded_again(tmp_path: Path, undisturbed: Path) -> None:
    out, listener = tmp_path / "run", StopAt(6)
    with pytest.raises(Interrupted):
        simulate(described(out), listener, listener.stop)
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"round": 9, "test_acc')
    resume(out)
    assert outcome(out) == outcome(undisturbed)


def test_a_finished_run_is_resumed_to_itself(tmp_path: Path, undisturbed: Path) -> None:
    before = outcome(undisturbed)
    result = resume(undisturbed)
    assert outcome(undisturbed) == before
    assert isinstance(result, Result)
    assert result.summary()["test_accuracy"] == before[1][-1]["test_accuracy"]


def test_killed_by_the_system_at_random_moments(tmp_path: Path) -> None:
    keys = [
        "client.name=sam",
        "data.clients=10",
        "cohort=2",
        "rounds=100",
        "evaluate_every=25",
        "checkpoint_every=1",
        "client.epochs=1",
    ]
    command = [*FEDSAM, "run", "--quiet"]
    ending("run", "--quiet", *keys, f"out={tmp_path / 'whole'}")
    out, kills = tmp_path / "killed", 0
    arguments = [*keys, f"out={out}"]
    for wait in (0.11, 0.37, 0.05):
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        done = _round_of(out)
        deadline = time.monotonic() + 60
        while _round_of(out) <= done and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        assert process.stderr is not None
        process.stderr.close()
        arguments = ["--resume", str(out)]
    assert kills >= 2
    ending("run", "--quiet", "--resume", str(out))
    assert outcome(out) == outcome(tmp_path / "whole")


def _round_of(out: Path) -> int:
    try:
        return int(json.loads((out / "checkpoint" / "manifest.json").read_text())["round"])
    except FileNotFoundError:
        return 0


def test_a_damaged_checkpoint_is_refused_and_kept(tmp_path: Path) -> None:
    out, listener = tmp_path / "run", StopAt(4)
    with pytest.raises(Interrupted):
        simulate(described(out), listener, listener.stop)
    (file,) = (out / "checkpoint").glob("*.safetensors")
    blob = bytearray(file.read_bytes())
    blob[-1] ^= 1
    file.write_bytes(blob)
    with pytest.raises(
        InputError, match=r"damaged \(its sha256 is not the manifest's\); restore it from a copy, or start the run anew"
    ):
        resume(out)
    assert file.read_bytes() == blob
    manifest = out / "checkpoint" / "manifest.json"
    manifest.write_text("{")
    with pytest.raises(InputError, match=r"manifest.json cannot be read"):
        resume(out)
    file.unlink()
    with pytest.raises(InputError, match=r"manifest.json cannot be read"):
        resume(out)


def test_a_changed_description_is_refused(tmp_path: Path) -> None:
    out, listener = tmp_path / "run", StopAt(4)
    with pytest.raises(Interrupted):
        simulate(described(out), listener, listener.stop)
    text = (out / "run.json").read_text()
    (out / "run.json").write_text(text.replace('"cohort": 3', '"cohort": 4'))
    with pytest.raises(InputError, match="was changed"):
        resume(out)
    (out / "run.json").write_text(text.replace('"format": 1', '"format": 99'))
    with pytest.raises(InputError, match="has format 99, this version of fedsam reads format 1"):
        resume(out)


def test_something_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="is not a run directory"):
            resume(path)


def test_an_existing_directory_is_never_overwritten(tmp_path: Path, undisturbed: Path) -> None:
    before = outcome(undisturbed)
    with pytest.raises(InputError, match=f"exists already; continue it with fedsam run --resume {undisturbed}"):
        simulate(described(undisturbed))
    assert outcome(undisturbed) == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"out = .*exists already; choose another out"):
        simulate(described(tmp_path / "notes"))


def test_a_full_disk_keeps_the_last_checkpoint(
    tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    real, full = os.fsync, threading.Event()

    def sync(descriptor: int) -> None:
        if full.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    class FullAt(Listener):
        def round(self, done: int) -> None:
            if done == 8:
                full.set()

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        with pytest.raises(RunError, match="No space left on device; make room"):
            simulate(described(out), FullAt())
    checkpoint = RunDirectory(out).load_checkpoint()
    assert checkpoint is not None
    assert checkpoint.round == 6
    assert not list(out.rglob("*.writing"))
    resume(out)
    assert outcome(out) == outcome(undisturbed)


def test_a_diverging_run_names_round_and_clients_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = described(out).replace(client=SGD(lr=1e19), average="none", checkpoint_every=1)
    with pytest.raises(
        RunError,
        match=r"round \d+: loss or update of clients? \d+(, \d+)* is not finite; lower client.lr = 1e\+19 or set",
    ):
        simulate(run)
    assert not (out / "model.safetensors").exists()
    checkpoint = RunDirectory(out).load_checkpoint()
    assert checkpoint is None or all(bool(torch.isfinite(t).all()) for t in checkpoint.tensors.values())


def test_going_on_elsewhere_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out, listener = tmp_path / "run", StopAt(4)
    with pytest.raises(Interrupted):
        simulate(described(out), listener, listener.stop)
    text = (out / "run.json").read_text()
    (out / "run.json").write_text(text.replace('"threads": 1', '"threads": 7'))
    resume(out)
    expected = "going on elsewhere than the run was started, so bits may differ: threads 7 then, 1 now"
    assert [record.getMessage() for record in caplog.records] == [expected]
    caplog.clear()
    (out / "run.json").write_text(text)
    resume(out)
    assert not caplog.records
