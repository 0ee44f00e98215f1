"""Stock Flower: its own `FedAvg` over its simulation runtime on Ray, and a client that trains by a plain torch loop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from fedsam.bench.common.work import Work

PACKAGE = "flwr"
INSTALL = 'pip install "flwr[simulation]"'
TOGETHER = 8  # clients on one GPU at once


class Peer:
    """One node a client, one core each, and on a GPU a share of it."""

    def __init__(self, work: Work) -> None:
        from fedsam.flower.minimal_training import TrainingRounds  # before the runtime: it adds to the app that is sent
        from fedsam.flower.runtime import Runtime

        share = 1 / min(TOGETHER, os.cpu_count() or 1) if torch.cuda.is_available() else 0.0
        self.runtime = Runtime(work.clients, 1, share)
        try:
            self.rounds = TrainingRounds(self.runtime.grid, work)
        except BaseException:
            self.runtime.stop()
            raise

    def round(self) -> None:
        """Configure, send, wait, aggregate."""
        self.rounds.round()

    def close(self) -> None:
        """Stop the nodes, and Ray with them."""
        self.runtime.stop()
