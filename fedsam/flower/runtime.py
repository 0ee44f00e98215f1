"""Flower's simulation runtime, in a thread of this process."""

from __future__ import annotations

import logging
import os
import queue
import threading
from typing import Any

from fedsam.errors import RunError

START = 120.0  # seconds in which the runtime must come up


class Runtime:
    """Virtual nodes that run the project's ClientApp on Ray, for a server loop that is somewhere else: `grid` reaches
    them.

    Flower calls the function it comes from, `run_simulation`, deprecated; what it offers instead is a SuperLink, a
    process of its own that an app is sent to (`flwr run`).

    Args:
        nodes: how many; node i has partition i.
        cpus: cores of a client.
        gpus: of a client.

    Raises:
        RunError: it does not come up.
    """

    def __init__(self, nodes: int, cpus: int, gpus: float) -> None:
        os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        self._over = threading.Event()
        self._came: queue.Queue[Any] = queue.Queue()
        self._logger = logging.getLogger("flwr")
        self._level = self._logger.level
        self._logger.setLevel(logging.CRITICAL)  # what goes wrong reaches the run as an exception or a reply
        # without an address Ray would join whatever cluster of somebody else's runs on this machine, and end with it
        ray = {"address": os.environ.get("RAY_ADDRESS", "local"), "log_to_driver": False}
        backend = {
            "client_resources": {"num_cpus": cpus, "num_gpus": gpus},
            "init_args": {**ray, "logging_level": logging.CRITICAL},
        }
        self._thread = threading.Thread(target=self._run, args=(nodes, backend), name="flower", daemon=True)
        self._thread.start()
        try:
            came = self._came.get(timeout=START)
        except queue.Empty:
            came = TimeoutError(f"nothing within {START:.0f} s")
        if isinstance(came, BaseException):
            self.stop()
            raise RunError(f"Flower's simulation runtime did not start: {type(came).__name__}: {came}") from came
        self.grid = came

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

    def stop(self) -> None:
        """End the runtime, and Ray with it."""
        self._over.set()
        self._thread.join(timeout=30)
        self._logger.setLevel(self._level)
