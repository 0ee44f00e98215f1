"""The campaigns of `make torture`, a part of each, and that they find what is broken. Each runs in a process of its
own, from which it can fork.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fedsam.torture import runs
from fedsam.torture.damage import judged

FORGETFUL = """
from fedsam.runs.directory import RunDirectory
kept = RunDirectory.kept
RunDirectory.kept = lambda self, *given: tuple(part[1:] for part in kept(self, *given))
"""


def tortured(names: list[str], told: Path, before: str = "") -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit status of `python -m fedsam.torture --short`, and its trials."""
    words = [*names, "--short", "--json", str(told)]
    script = f"{before}\nfrom fedsam.torture.__main__ import main\nmain({words!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert told.exists(), done.stderr
    return done.returncode, json.loads(told.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["operations", "writes", "moments", "disk", "damage"])
def test_a_part_of_each_campaign_is_survived(name: str, tmp_path: Path) -> None:
    status, found = tortured([name], tmp_path / "told.json")
    assert len(found[name]) >= 2
    assert [trial for trial in found[name] if trial["wrong"]] == []
    assert status == 0


def test_a_record_that_is_lost_is_found(tmp_path: Path) -> None:
    """A run directory that forgets a record when it is gone on with does not survive."""
    status, found = tortured(["operations"], tmp_path / "told.json", FORGETFUL)
    assert "metrics.jsonl is another" in {trial["wrong"] for trial in found["operations"]}
    assert status == 1


def test_every_kind_of_state_is_there() -> None:
    for method in runs.METHODS:
        assert runs.described(method, Path("out")).rounds == 12


@pytest.mark.parametrize(
    ("ended", "told", "wrong"),
    [
        (0, "", False),
        (2, "error: client.rho = x: must be a number\n", False),
        (2, "note: something\nerror: it is damaged\n", False),
        (1, "error: TypeError: 3 (unexpected; --debug shows the traceback)\n", True),
        (1, "Traceback (most recent call last):\n  ...\n", True),
        (2, "error: one\nerror: two\n", True),
        (1, "", True),
        (0, "error: but it went on\n", True),
        (-11, "", True),
    ],
)
def test_what_a_command_may_do(ended: int, told: str, wrong: bool) -> None:
    assert (judged(ended, told) is not None) is wrong
