"""The Flower engine: clients are trained by the project's ClientApp, in Flower's simulation or over a network."""

from __future__ import annotations

from typing import Any, Self

from pydantic import PrivateAttr

from fedsam.border.given import must_be_importable
from fedsam.config import key
from fedsam.data.base import Federation
from fedsam.engine.base import Engine, Trainer
from fedsam.engine.context import RunContext
from fedsam.errors import InputError


class Flower(Engine):
    """One Flower node a client. In `fedsam run` the nodes are those of Flower's simulation runtime, which is started
    and stopped; in the Flower app they are whatever the app is run on.
    """

    timeout: float = key(3600.0, "seconds to wait for a client's answer in a round", "Flower's own", gt=0.0, le=1e8)
    wait: float = key(60.0, "seconds to wait for another node to connect", "convention", ge=0.0, le=1e8)
    _grid: Any = PrivateAttr(default=None)

    def over(self, grid: Any) -> Self:
        """The same over the nodes of this `flwr.serverapp.Grid`."""
        engine = self.replace()
        engine._grid = grid
        return engine

    def thread_count(self, context: RunContext) -> int:
        """Threads of a client: one, unless asked for more, so that it does not depend on where the client runs."""
        return self.threads or 1

    def start(self, context: RunContext, federation: Federation) -> Trainer:
        """Find the nodes; without any, start Flower's simulation runtime.

        Raises:
            InputError: flwr is not installed.
            RunError: no node connects, or the runtime cannot be started.
        """
        must_be_importable(context.keys, "a node of Flower")
        try:
            from fedsam.flower.grid import GridTrainer
            from fedsam.flower.runtime import Runtime
        except ImportError as error:
            raise InputError("name", "flower", f"needs flwr[simulation] ({error}); use engine.name=auto") from None
        if self._grid is not None:
            return GridTrainer(context, federation, self._grid, self.timeout, self.wait)
        gpus = 1.0 if context.device.type == "cuda" else 0.0
        runtime = Runtime(federation.clients, self.thread_count(context), gpus)
        try:
            times = self.timeout, self.wait
            return GridTrainer(context, federation, runtime.grid, *times, runtime.stop, runtime.check)
        except BaseException:
            runtime.stop()
            raise
