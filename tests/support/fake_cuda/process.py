"""The fake device in a process of its own, which is asked run by run.

Each line of its input is `{"keys": ..., "settings": ..., "shipped": ...}`, and each of its output what was seen of that
run; see `rounds.walk`.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.support.fake_cuda.rounds import Walked, walk

ROOT = Path(__file__).parents[3]


class Process:
    """That process."""

    def __init__(self) -> None:
        # errors go to a file: a pipe that nobody reads would fill up
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fake_cuda.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    def walk(
        self, keys: dict[str, Any], settings: dict[str, list[float]] | None = None, shipped: bool = False
    ) -> Walked:
        """What is seen of a run."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"keys": keys, "settings": settings, "shipped": shipped}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._errors.seek(0)
            raise AssertionError(f"the process with the fake device ended: {self._errors.read().decode()[-3000:]}")
        return Walked(**json.loads(answer))

    def end(self) -> None:
        """Let it end."""
        self._process.communicate()
        self._errors.close()


@contextmanager
def process() -> Iterator[Process]:
    """One, for a module of tests."""
    started = Process()
    try:
        yield started
    finally:
        started.end()


def main() -> None:
    """Answer until the input ends."""
    from tests.support.fake_cuda.device import fake_device

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed is no answer
    logging.disable(logging.WARNING)
    with fake_device() as device, warnings.catch_warnings():
        warnings.simplefilter("error")
        for line in sys.stdin:
            asked = json.loads(line)
            gc.collect()  # what an earlier run has left would count for this one
            answers.write(json.dumps(asdict(walk(device, **asked))) + "\n")
            answers.flush()
    os._exit(0)  # torch would take leave of a driver that is not there


if __name__ == "__main__":
    main()
