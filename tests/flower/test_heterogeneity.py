"""Feature skew and evaluation of clients over Flower's messages: as in this process, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from fedsam import InputError, Run, simulate

pytest.importorskip("flwr")
from fedsam.engine.flower import Flower
from tests.support.flower_grid import Nodes, inside_flower  # noqa: F401

pytestmark = pytest.mark.usefixtures("inside_flower")


def described(**changes: Any) -> Run:
    keys = {"data.clients": 6, "data.skew": "feature", "data.skew_noise": 0.2, "data.local_test": 0.3, "rounds": 2}
    keys |= {"cohort": 3, "model.width": 4, "evaluate_every": 1, "local.every": 1, "engine.threads": 1}
    return Run.from_keys({**keys, "client.name": "sam", "engine.name": "loop", **changes})


def over(run: Run) -> Run:
    return run.replace(engine=Flower(threads=1).over(Nodes(6)))


def test_nodes_see_the_same_images_and_are_evaluated_alike() -> None:
    run = described()
    here, there = simulate(run), simulate(over(run))
    assert here.digest == there.digest
    assert [record["local"] for record in here.metrics] == [record["local"] for record in there.metrics]


def test_where_nodes_keep_vectors_a_trial_is_refused() -> None:
    run = described(**{"server.name": "scaffold", "client.name": "sgd"})
    with pytest.raises(InputError, match=r"local\.every = 1: clients of this algorithm keep vectors at Flower's nodes"):
        simulate(over(run))
    changes = {"server.name": "scaffold", "client.name": "sgd", "local.every": 0}
    assert simulate(over(described(**changes))).digest == simulate(described(**changes)).digest
