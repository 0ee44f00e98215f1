"""Flower's simulation runtime, in a thread of this process."""

from __future__ import annotations

import logging
import os
import queue
import threading
from typing import Any

from fedsam.cluster.join import LOOK, brief, join
from fedsam.cluster.kept import now
from fedsam.cluster.patience import LIMIT, Patience
from fedsam.errors import InputError, RunError

DEATHS = 2  # of the process that works on a message, after each of which it is worked on again in a new one
END = 30.0  # seconds in which the runtime has to end


class Runtime:
    """Virtual nodes that run the project's ClientApp on Ray, for a server loop that is somewhere else: `grid` reaches
    them. The Ray cluster is always one that is started here.

    Flower calls the function it comes from, `run_simulation`, deprecated; what it offers instead is a SuperLink, a
    process of its own that an app is sent to (`flwr run`).

    Args:
        nodes: how many; node i has partition i.
        cpus: cores of a client.
        gpus: of a client.

    Raises:
        InputError: this process is in a Ray cluster already, which Flower would take, and stop with its own end.
        RunError: it does not come up.
    """

    def __init__(self, nodes: int, cpus: int, gpus: float) -> None:
        import ray

        kept = now()
        if kept is not None:  # which is this job's own
            kept.leave()
        if ray.is_initialized():
            allowed = (
                "Flower's simulation starts a Ray cluster of its own, and this process is in one; leave that first"
            )
            raise InputError("name", "flower", f"{allowed}, or use engine.name=ray")
        silence()
        self._cluster = join(quiet=True)  # Flower takes one that is there; of itself it would join somebody else's
        self._over = threading.Event()
        self._came: queue.Queue[Any] = queue.Queue()
        self._logger = logging.getLogger("flwr")
        self._level = self._logger.level
        self._logger.setLevel(logging.CRITICAL)  # what goes wrong reaches the run as an exception or a reply
        lives = {"max_restarts": -1, "max_task_retries": DEATHS}
        backend = {"client_resources": {"num_cpus": cpus, "num_gpus": gpus, **lives}}
        self._thread = threading.Thread(target=self._run, args=(nodes, backend), name="flower", daemon=True)
        self._thread.start()
        try:
            self.grid = self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> Any:
        patience = Patience("Flower's simulation runtime to start")
        while True:
            try:
                came = self._came.get(timeout=LOOK)
            except queue.Empty:
                self._cluster.check()
                if not patience.over():
                    continue
                came = TimeoutError(f"nothing within {LIMIT:.0f} s")
            if isinstance(came, BaseException):
                raise RunError(f"Flower's simulation runtime did not start: {brief(came)}") from came
            return came

    def _run(self, nodes: int, backend: dict[str, Any]) -> None:
        from flwr.app import Context
        from flwr.serverapp import Grid, ServerApp
        from flwr.simulation import run_simulation

        from fedsam.flower.client_app import app

        server = ServerApp()

        @server.main()
        def main(grid: Grid, context: Context) -> None:
            self._came.put(grid)
            self._over.wait()

        try:
            run_simulation(server, app, nodes, backend_config=backend)
        except BaseException as error:
            self._came.put(error)

    def check(self) -> None:
        """See that it is at work.

        Raises:
            RunError: Ray has stopped working, or the runtime has ended.
        """
        self._cluster.check()
        if not self._thread.is_alive():
            came = None if self._came.empty() else self._came.get()
            raise RunError(f"Flower's simulation runtime has ended{f': {brief(came)}' if came else ''}")

    def stop(self) -> None:
        """End the runtime, and Ray with it."""
        self._over.set()
        self._thread.join(timeout=END)
        self._cluster.leave()
        self._logger.setLevel(self._level)


def silence() -> None:
    """Have Flower send nothing anywhere, unless the environment says so: it looks there as it is imported."""
    from flwr.supercore import telemetry

    telemetry.FLWR_TELEMETRY_ENABLED = os.environ.get("FLWR_TELEMETRY_ENABLED", "0")
