"""One part of `make gpu`, in a process of its own: lines of JSON as they come; see `everything`."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from typing import Any


def checked() -> Iterator[dict[str, Any]]:
    """Every check, and why those fail that do."""
    import torch

    from tests.gpu.checks import CHECKS, DEVICE

    name = torch.cuda.get_device_name() if DEVICE == "cuda" else "no GPU"
    yield {"device": name, "torch": torch.__version__, "cuda": torch.version.cuda}
    for check, work in CHECKS.items():
        began = time.monotonic()
        failed = {}
        try:
            work()
        except Exception as error:  # the next one may pass
            traceback.print_exc()
            failed = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:500]}
        yield {"check": check, "seconds": round(time.monotonic() - began, 2), **failed}


def measured(case: str, rounds: int) -> Iterator[dict[str, Any]]:
    """What a case of the benchmark measures."""
    from fedsam.bench.all import lines
    from fedsam.runs.environment import hardware, versions

    yield from lines(case, rounds, False, hardware(), versions())


def main(part: str, rounds: str) -> int:
    """Tell it; 1 if anything failed."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed is no answer
    warnings.simplefilter("default")  # a version that is newer than ours may warn
    failed = False
    for line in checked() if part == "checks" else measured(part, int(rounds)):
        failed |= "error" in line
        answers.write(json.dumps(line) + "\n")
        answers.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
