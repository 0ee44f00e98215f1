"""`data.pixels` over Flower's messages, and in a run that is continued."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fedsam import Run, simulate
from fedsam.errors import Interrupted
from fedsam.federated.simulate import resume
from fedsam.runs.result import Listener

pytest.importorskip("flwr")
from fedsam.engine.flower import Flower
from tests.support.flower_grid import Nodes, inside_flower  # noqa: F401

KEYS = {"data.clients": 6, "cohort": 3, "rounds": 2, "model.width": 4, "evaluate_every": 1, "engine.threads": 1}


@pytest.mark.usefixtures("inside_flower")
def test_nodes_see_the_same_pixels() -> None:
    found = set()
    for pixels in ("standard", "unit"):
        run = Run.from_keys({**KEYS, "data.pixels": pixels, "engine.name": "loop"})
        here, there = simulate(run), simulate(run.replace(engine=Flower(threads=1).over(Nodes(6))))
        assert here.digest == there.digest
        found.add(here.metrics[-1]["test_loss"])
    assert len(found) == 2


class StopAfterTwo(Listener):
    """Stops a run after its second round."""

    def __init__(self) -> None:
        self.stop = threading.Event()

    def round(self, done: int) -> None:
        if done == 2:
            self.stop.set()


def test_a_run_goes_on_with_its_pixels(tmp_path: Path) -> None:
    run = Run.from_keys({**KEYS, "data.pixels": "unit", "rounds": 4})
    whole, part, listener = simulate(run), tmp_path / "part", StopAfterTwo()
    with pytest.raises(Interrupted):
        simulate(run.replace(out=str(part)), listener, listener.stop)
    continued = resume(part)
    assert continued.metrics[-1]["test_loss"] == whole.metrics[-1]["test_loss"]
    assert continued.digest == whole.digest
