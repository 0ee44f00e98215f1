"""Does the size of the population cost anything? A round of 100 of 100, 10,000 and 1,000,000 synthetic clients, each
population in a process of its own.

`limit_ratio` is the time over that of the smallest population. The peak memory of the process, which should not grow
with the population either, stands in the variant's name.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from fedsam.bench import Row, wait_for
from fedsam.engine.support.peak import process_peak
from fedsam.errors import RunError

CLIENTS = (10**2, 10**4, 10**6)
COHORT = 100
CODE = "import sys; from fedsam.bench.population import report; report(*map(int, sys.argv[1:]))"


def rows(rounds: int, versus: bool = False) -> Iterator[Row]:
    """Each population, from small to large."""
    first: dict[str, Any] = {}
    for clients in CLIENTS:
        found = measured(clients, rounds)
        first = first or found
        ratio = median(found["seconds"]) / median(first["seconds"])
        note = f"{found['peak'] / first['peak']:.2f} x the memory of {CLIENTS[0]:,} clients"
        name = f"{COHORT} of {clients:,} clients, {found['peak'] / 2**20:.0f} MiB"
        yield Row(name, found["engine"], "fp32", found["seconds"], ratio, note)


def measured(clients: int, rounds: int) -> dict[str, Any]:
    """What another process reports of a population.

    Raises:
        RunError: it fails.
    """
    command = [sys.executable, "-c", CODE, str(clients), str(COHORT), str(rounds)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise RunError(f"the process with {clients:,} clients failed: {last}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(clients: int, cohort: int, rounds: int) -> None:
    """Run in this process; print the seconds of each round but the first, the engine and the peak memory in bytes."""
    from fedsam.data.synthetic import Synthetic
    from fedsam.engine.context import numerics
    from fedsam.federated.round_loop import Simulation
    from fedsam.optim.sgd import SGD
    from fedsam.run import Run

    client = SGD(lr=0.1, batch_size=10, epochs=1)
    with numerics("fp32"):
        simulation = Simulation(Run(data=Synthetic(clients=clients), client=client, cohort=cohort, rounds=10**6))
        wait, seconds = wait_for(simulation.context.device), []
        for _ in range(rounds + 1):
            wait()
            began = time.perf_counter()
            simulation.advance()
            wait()
            seconds.append(time.perf_counter() - began)
        simulation.close()
    print(json.dumps({"seconds": seconds[1:], "engine": simulation.engine.name, "peak": process_peak()}))
