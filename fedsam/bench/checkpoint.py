"""Saving and loading a checkpoint of the paper's CNN (0.8 million parameters) and of ResNet-18 (11 million); against
writing as many bytes to one file that is flushed to the disk, and reading them.

A checkpoint is more than its bytes: it has a checksum, and replaces the one before it without ever being broken.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

from fedsam.bench import Row, alternate
from fedsam.bench.common.work import Work
from fedsam.params import theta_of
from fedsam.run import Run
from fedsam.runs.checkpoint import Checkpoint
from fedsam.runs.directory import RunDirectory

MODELS = ("cnn", "resnet18")


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Each model saved and loaded, in a directory for temporary files."""
    for model in MODELS:
        theta_P = theta_of(Work(model={"name": model}).module())
        checkpoint = Checkpoint(1, {"theta": theta_P}, {})
        with tempfile.TemporaryDirectory() as parent:
            directory = RunDirectory.create(Path(parent) / "run", Run(), {})
            file, content = Path(parent) / "bytes", theta_P.numpy().tobytes()
            parts: dict[str, Callable[[], object]] = {
                "save": partial(directory.save_checkpoint, checkpoint),
                "write": partial(write, file, content),
                "load": directory.load_checkpoint,
                "read": file.read_bytes,
            }
            seconds = alternate(parts, rounds)
        for name, limit in (("save", "write"), ("write", "write"), ("load", "read"), ("read", "read")):
            ratio = median(seconds[name]) / median(seconds[limit])
            millions = f"{theta_P.numel() / 1e6:.1f} M parameters"
            yield Row(f"{name} {model}, {millions}", "none", "none", seconds[name], ratio)


def write(file: Path, content: bytes) -> None:
    """Write a file and flush it to the disk."""
    with file.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
