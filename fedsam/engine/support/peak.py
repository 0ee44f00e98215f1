"""How much memory a process has had."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def process_peak() -> int:
    """The largest memory that this process has had so far, in bytes.

    On Linux since its program began (VmHWM, proc(5)): `getrusage` counts the process, too, that started it.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
    except (OSError, StopIteration):
        found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return found if sys.platform == "darwin" else found * 1024
