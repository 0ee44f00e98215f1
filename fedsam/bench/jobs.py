"""Where the time of each job goes, from the return key to the figure: one row for each phase.

`seconds_per_round` are seconds of the whole job, the note is the phase's share of them. Phases are those of the process
that was started; where others work for it, it waits, which is "else". Jobs are small ones of their kind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from fedsam.bench import Row
from fedsam.bench.common.phases import ORDER
from fedsam.errors import RunError

SHORT = ("rounds=20",)
JOBS: dict[str, tuple[str, ...]] = {
    "a run": ("run",),
    "the demonstration": ("compare", "--seeds", "1"),
    "a sweep of 36 runs": (*("sweep", "client.name=sgd,sam,asam", "data.alpha=0,0.1,1,100", "--workers", "0", *SHORT),),
    "the same in turn": ("sweep", "client.name=sgd,sam,asam", "data.alpha=0,0.1,1,100", "--apart", *SHORT),
    "a tuning": ("tune", "client.name=sam", "client.rho=log:0.01..1", "--trials", "8", *SHORT),
    "a study of heterogeneity": ("study", "heterogeneity", "--seeds", "1", *SHORT),
    "the report of a run": ("report", "RUN"),
    "the geometry of a run": ("geometry", "RUN"),
    "a run by Ray": ("run", "engine.name=ray", *SHORT),
    "a run by Flower": ("run", "engine.name=flower", "data.clients=20", *SHORT),
}
RUN = ("run", "rounds=10", "out=RUN")
"""What is made first, for the jobs that look at a run."""


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Each job in processes of its own, as often as asked for."""
    for name, words in JOBS.items():
        found: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="fedsam-bench-") as folder:
                if "RUN" in words:
                    phases_of(RUN, Path(folder))
                for phase, seconds in phases_of(words, Path(folder)).items():
                    found[phase].append(seconds)
        whole = median(found["all"])
        yield Row(name, "none", "none", found["all"], None)
        for phase in ORDER:
            if found.get(phase):
                share = median(found[phase]) / whole
                yield Row(f"{name}: {phase}", "none", "none", found[phase], None, f"{share:.0%}")


def phases_of(words: Sequence[str], folder: Path) -> dict[str, float]:
    """Seconds by phase of one command in a folder; "all" is from its start to its end, "start" what no phase has.

    Raises:
        RunError: it fails.
    """
    file = folder / "phases.json"
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "fedsam.bench.common.phases", str(file), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        check=False,
        cwd=folder,
        env=_importable(),
    )
    taken = time.perf_counter() - begun
    if done.returncode:
        raise RunError(f"fedsam {' '.join(words)} failed: {done.stderr.strip()[-300:]}")
    phases: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return {**phases, "start": taken - sum(phases.values()), "all": taken}


def _importable() -> dict[str, str]:
    """This process's environment, in which another folder's process finds the same fedsam."""
    here = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))}
