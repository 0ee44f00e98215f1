"""A search space that tests of tuning share."""

from __future__ import annotations

SPACE = {"client.name": "sgd,sam", "client.rho": "log:1e-3..1", "client.lr": "log:1e-3..0.3", "client.epochs": "1..4"}
