"""Settings in words, and that a report waits for no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fedsam
from fedsam import Run
from fedsam.config import find, names
from fedsam.reports.words import METHODS, class_name, readable


@pytest.mark.parametrize("part", METHODS)
def test_a_part_is_called_as_its_class_is(part: str) -> None:
    root: Any = Run.model_fields[part].annotation
    assert METHODS[part] == root.package
    assert {name: class_name(METHODS[part], name) for name in names(root)} == {
        name: find(root, name).__name__ for name in names(root)
    }


def test_a_part_that_is_not_here_keeps_its_name() -> None:
    assert class_name("fedsam.optim", "of_tomorrow") is None
    assert readable("client.name=of_tomorrow server.name=own.module:Mine") == "of_tomorrow, Mine"


def test_a_report_imports_no_torch(tmp_path: Path) -> None:
    for seed in (0, 1):
        fedsam.simulate(Run(rounds=2, evaluate_every=1, seed=seed, out=str(tmp_path / f"run{seed}")), quiet=True)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from fedsam.cli.app import main\n"
        "main(['report', 'run0', 'run1', '--out', 'both.html'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stderr == ""
    assert (tmp_path / "both.html").stat().st_size > 10_000
