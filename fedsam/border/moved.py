"""Modules that had another name: code and run directories that know them by the old one go on working."""

from __future__ import annotations

MOVED = {
    "fedsam.client_half": "fedsam.algorithm.client_hooks",
    "fedsam.evaluate": "fedsam.measure.evaluate",
    "fedsam.grid": "fedsam.sweeps.grid",
    "fedsam.record": "fedsam.runs.directory",
    "fedsam.reproduce.tasks": "fedsam.data.images.rotated",
    "fedsam.result": "fedsam.runs.result",
    "fedsam.runner": "fedsam.federated.simulate",
    "fedsam.simulation": "fedsam.federated.round_loop",
    "fedsam.strategies.ema": "fedsam.strategies.averages.ema",
    "fedsam.strategies.none": "fedsam.strategies.averages.none",
    "fedsam.strategies.swa": "fedsam.strategies.averages.swa",
    "fedsam.strategies.wima": "fedsam.strategies.averages.wima",
    "fedsam.strategy": "fedsam.algorithm.strategy",
}
"""From the old name to the new one."""
