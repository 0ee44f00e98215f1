"""Progress: lines on a pipe, a bar on a terminal, and what a start imports for either."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from fedsam import Run
from fedsam.runs.progress import Lines, Progress, on_terminal, steady

CODE = """
import sys
from fedsam import Run, simulate
simulate(Run(rounds=3, evaluate_every=1), quiet=False)
print(sorted({"rich", "matplotlib", "ray", "flwr"} & set(sys.modules)))
"""


def on_pseudo_terminal(folder: Path, **environment: str) -> tuple[str, str]:
    """What a run writes to a terminal, and to standard output."""
    master, slave = pty.openpty()
    own, shown = {**os.environ, **environment}, b""
    with subprocess.Popen(
        [sys.executable, "-c", CODE], stdout=subprocess.PIPE, stderr=slave, cwd=folder, env=own, text=True
    ) as process:
        os.close(slave)
        with suppress(OSError):  # of Linux, when nobody has the other end any more
            while piece := os.read(master, 65536):
                shown += piece
        os.close(master)
        out, _ = process.communicate()
    assert process.returncode == 0
    return shown.decode(), out


def test_a_pipe_gets_lines_and_needs_no_rich(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "engine " in done.stderr
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr


def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    shown, out = on_pseudo_terminal(tmp_path, TERM="xterm-256color")
    assert out.splitlines()[-1] == "['rich']"
    assert "3/3" in shown
    assert "\x1b" in shown


@pytest.mark.parametrize("says", [{"TERM": "dumb"}, {"TERM": "DUMB"}, {"TERM": "xterm", "TTY_COMPATIBLE": "0"}])
def test_a_terminal_that_cannot_go_back_gets_lines(tmp_path: Path, says: dict[str, str]) -> None:
    shown, out = on_pseudo_terminal(tmp_path, **says)
    assert out.splitlines()[-1] == ("[]" if says["TERM"] == "dumb" else "['rich']")
    assert "engine " in shown
    assert "\x1b" not in shown


def test_what_stands_in_brackets_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress.started(Run(rounds=2), "loop", "as asked for, [red]not a colour[/red] and [0, 1]", 0)
    assert "[red]not a colour[/red] and [0, 1]" in capsys.readouterr().err


@pytest.mark.parametrize("gone", [None, "closed"])
def test_no_standard_error_at_all_stops_nothing(gone: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream if gone else None)
    assert not on_terminal()
    with steady():
        Lines().print("said to nobody")
        with Progress() as progress:
            progress.started(Run(rounds=2), "loop", "", 0)
            progress.round(1)


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(quiet=True) as progress:
        progress.plan(4)
        progress.started(Run(rounds=2), "loop", "", 0)
        progress.ended("one", 2)
    assert capsys.readouterr().err == ""
