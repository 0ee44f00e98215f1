"""The command line, called in this process."""

from __future__ import annotations

import sys

import pytest

from fedsam.cli import app

FEDSAM = [sys.executable, "-m", "fedsam"]


def call(*arguments: str) -> None:
    app.main(list(arguments))


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        call(*arguments)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert isinstance(caught.value.code, int)
    return caught.value.code, captured.err


def ending(*arguments: str) -> None:
    with pytest.raises(SystemExit) as caught:
        call(*arguments)
    assert caught.value.code in (0, None)
