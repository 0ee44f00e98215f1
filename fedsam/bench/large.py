"""What images cost that memory does not hold: a round of 10 of 60 users with 24 photographs each, decoded when their
user is sampled, the same from the disk, and the same from memory.

`limit_ratio` is the time over that with everything in memory. How many images a second enter a round, what share of a
round waits for them and the peak memory of the process stand beside it. Each way has a process of its own.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from fedsam.bench import Row, wait_for
from fedsam.bench.common.alone import reported
from fedsam.engine.support.peak import process_peak
from fedsam.rng import stream

USERS, IMAGES, COHORT = 60, 24, 10
HEIGHT, WIDTH, SIZE = 480, 640, 64
WAYS: dict[str, dict[str, float]] = {
    "in memory": {"memory": 1000.0},
    "decoded ahead of their round": {"memory": 0.0, "disk": 0.0},
    "kept on disk": {"memory": 0.0, "disk": 1000.0},
}
"""Keys of the data set."""
CODE = "import sys; from fedsam.bench.large import report; report(*sys.argv[1:])"


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Each way to have the images."""
    limit = None
    with tempfile.TemporaryDirectory(prefix="fedsam-") as folder:
        write(Path(folder))
        for name, keys in WAYS.items():
            for warm in (False, True) if keys.get("disk") else (True,):
                found = measured(folder, keys, rounds if warm else rounds + 2)
            seconds = found["seconds"]
            limit = limit or median(seconds)
            waits = "" if found["images"] is None else f", {found['waited'] / sum(seconds):.0%} of a round waits"
            speed = COHORT * IMAGES / median(seconds)
            note = f"{speed:,.0f} images/s enter a round{waits}, {found['peak'] / 2**20:,.0f} MiB"
            yield Row(
                f"{COHORT} of {USERS} users, {name}", found["engine"], "fp32", seconds, median(seconds) / limit, note
            )


def write(root: Path) -> None:
    """Photographs, smooth noise as JPEG, and the table that names them."""
    from PIL import Image

    lines = ["file,label,client,split"]
    for user in range(USERS):
        for n in range(IMAGES):
            coarse = stream(0, "bench large", n, user).integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
            name = f"{user}-{n}.jpg"
            Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(root / name, quality=90)
            lines.append(f"{name},{n % 10},{user},{'test' if n == 0 and user < COHORT else 'train'}")
    (root / "examples.csv").write_text("\n".join(lines), encoding="utf-8")


def measured(folder: str, keys: dict[str, float], rounds: int) -> dict[str, Any]:
    """What another process reports of a way.

    Raises:
        RunError: it fails.
    """
    return reported(CODE, (folder, json.dumps(keys), str(rounds)), str(keys))


def report(folder: str, keys: str, rounds: str) -> None:
    """Run in this process; print the seconds of each round but the first, those that were waited, and the rest."""
    from fedsam.data.image_table import ImageTable
    from fedsam.data.images.fetched import Fetched
    from fedsam.data.partition.natural import Natural
    from fedsam.engine.context import numerics
    from fedsam.federated.round_loop import Simulation
    from fedsam.models.resnet8 import ResNet8
    from fedsam.optim.sgd import SGD
    from fedsam.run import Run

    kept = str(Path(folder) / "kept")
    data = ImageTable(root=folder, partition=Natural(), size=str(SIZE), disk_folder=kept, **json.loads(keys))
    run = Run(data=data, model=ResNet8(), client=SGD(batch_size=8, epochs=1), cohort=COHORT, rounds=10**6)
    with numerics("fp32"):
        simulation = Simulation(run)
        lazy = simulation.federation if isinstance(simulation.federation, Fetched) else None
        wait, seconds, waited = wait_for(simulation.context.device), [], 0.0
        for _ in range(int(rounds) + 1):
            before = lazy.waited if lazy else 0.0
            wait()
            began = time.perf_counter()
            simulation.advance()
            wait()
            seconds.append(time.perf_counter() - began)
            waited += (lazy.waited if lazy else 0.0) - before if len(seconds) > 1 else 0.0
        simulation.close()
        if lazy:
            lazy.close()
    found = {"seconds": seconds[1:], "waited": waited, "images": lazy.images if lazy else None}
    print(json.dumps({**found, "engine": simulation.engine.name, "peak": process_peak()}))
