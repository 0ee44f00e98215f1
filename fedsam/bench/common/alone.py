"""Rounds of a run in a process of its own, whose memory is the run's alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fedsam.errors import RunError

CODE = "import sys; from fedsam.bench.common.alone import report; report(sys.argv[1], int(sys.argv[2]))"


def alone(keys: Mapping[str, Any], rounds: int) -> dict[str, Any]:
    """Of a run: the `seconds` of each round but the first, the `engine`, the `peak` of the process's memory in bytes
    and its model's `parameters`.

    Raises:
        RunError: it fails.
    """
    words = " ".join(f"{key}={value}" for key, value in keys.items())
    return reported(CODE, (json.dumps(dict(keys)), str(rounds)), words)


def reported(code: str, arguments: Sequence[str], words: str) -> dict[str, Any]:
    """The JSON object that code in a process of its own prints last.

    Args:
        code: of Python.
        arguments: for it.
        words: what is measured, for the error.

    Raises:
        RunError: it fails.
    """
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise RunError(f"the process with {words} failed: {last}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(keys: str, rounds: int) -> None:
    """Run in this process; print what `alone` gives."""
    from fedsam.bench import wait_for
    from fedsam.engine.context import numerics
    from fedsam.engine.support.peak import process_peak
    from fedsam.federated.round_loop import Simulation
    from fedsam.run import Run

    with numerics("fp32"):
        simulation = Simulation(Run.from_keys({**json.loads(keys), "rounds": 10**6}))
        wait, seconds = wait_for(simulation.context.device), []
        for _ in range(rounds + 1):
            wait()
            began = time.perf_counter()
            simulation.advance()
            wait()
            seconds.append(time.perf_counter() - began)
        simulation.close()
    found = {"seconds": seconds[1:], "engine": simulation.engine.name, "peak": process_peak()}
    print(json.dumps({**found, "parameters": simulation.context.layout.total}))
