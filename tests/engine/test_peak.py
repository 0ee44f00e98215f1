"""What a process is said to have had of memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SIZE = 2**29


SAYS = "from fedsam.engine.support.peak import process_peak; print(process_peak())"


def said(code: str) -> int:
    """By a process of its own."""
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def test_it_is_the_largest_so_far() -> None:
    assert SIZE <= said(f"import numpy; numpy.ones({SIZE}, dtype='uint8'); {SAYS}") < 3 * SIZE


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_that_of_the_process_which_started_it_does_not_count() -> None:
    large = np.ones(SIZE, dtype=np.uint8)
    assert 2**20 < said(SAYS) < len(large)
