"""Keeps others out of the Ray cluster that Flower itself starts for `flwr run`, and that out of others'."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROGRAM = "flwr-simulation"  # in which Flower loads the ClientApp just before it starts Ray


def guard() -> None:
    """Where Flower is about to start Ray, which then has a token, is reached from here alone, and joins nothing."""
    if not Path(sys.argv[0]).name.startswith(PROGRAM):
        return
    import ray
    from ray._private import ray_constants

    from fedsam.cluster import secret
    from fedsam.cluster.join import LOOPBACK

    if not ray.is_initialized():
        os.environ.update({**LOOPBACK, **secret.new(), "RAY_ADDRESS": "local"})
        ray_constants.ENABLE_RAY_CLUSTER = False
        secret.reread()
