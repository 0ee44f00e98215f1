"""The minimal Flower app by which starts are judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_it_aggregates_a_round_and_ends(tmp_path: Path) -> None:
    file = tmp_path / "aggregated"
    command = [sys.executable, "-m", "fedsam.flower.quickstart", "2", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert file.exists()
    assert "aggregate_train: Received 2 results and 0 failures" in done.stdout + done.stderr
