"""A terminal that goes away stops a run as a termination signal does, and takes nothing with it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedsam import resume
from fedsam.cli import app
from fedsam.federated.simulate import simulate
from fedsam.run import Run
from fedsam.runs.directory import RunDirectory
from fedsam.runs.progress import Progress, graceful
from tests.support.interrupted import described, outcome


class Gone:
    """A terminal that is not there any more."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")

    def flush(self) -> None:
        raise OSError(5, "Input/output error")

    def isatty(self) -> bool:
        return True


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A run is told three times, after its fifth round, that the terminal is gone."""
    real = Progress.round

    def round(self: Progress, done: int) -> None:
        if done == 5:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGHUP)
        real(self, done)

    monkeypatch.setattr(Progress, "round", round)
    before = signal.signal(signal.SIGHUP, signal.default_int_handler)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_the_round_is_finished_and_saved(
    tmp_path: Path, signalled: None, monkeypatch: pytest.MonkeyPatch, quiet: list[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", Gone())  # here: before the test itself, pytest puts its own there
    file, out = tmp_path / "run.toml", tmp_path / "run"
    keys = {name: value for name, value in described(out).keys().items() if value is not None}
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in keys.items()))
    with pytest.raises(SystemExit) as caught:
        app.main(["run", str(file), *quiet])
    assert caught.value.code == 130
    manifest = RunDirectory(out).manifest()
    assert manifest is not None
    assert manifest.round == 5
    assert signal.getsignal(signal.SIGHUP) is signal.default_int_handler
    resume(out)  # whose progress finds no terminal
    simulate(Run.from_keys({**keys, "out": str(tmp_path / "whole")}))
    assert outcome(out) == outcome(tmp_path / "whole")


def test_what_is_to_live_on_lives_on(signalled: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    with graceful() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.is_set()


def test_a_second_interrupt_still_stops_at_once() -> None:
    with graceful() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
