"""A cluster that outlives a run, for those that follow in the same job."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from fedsam import Run, simulate
from fedsam.cluster import join as joining
from fedsam.cluster import keeper
from fedsam.cluster.kept import keeping, now
from fedsam.engine.ray import RayTrainer

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.filterwarnings(  # Ray leaves files and processes to the garbage collector
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[Any]]]:
    """The folders of clusters that were started, and the processes of the workers of each run."""
    found: dict[str, list[Any]] = {"folders": [], "workers": []}
    make, place = keeper.make, RayTrainer._place

    def made() -> Any:
        folder, lock = make()
        found["folders"].append(folder)
        return folder, lock

    def placed(self: RayTrainer, *given: Any) -> None:
        place(self, *given)
        found["workers"].append({worker._actor_id for worker in self.workers})

    monkeypatch.setattr(keeper, "make", made)
    monkeypatch.setattr(RayTrainer, "_place", placed)
    yield found
    gc.collect()


def described(engine: str, **changes: Any) -> Run:
    keys = {"data.clients": 10, "cohort": 4, "rounds": 2, "engine.name": engine, "engine.threads": 1, **changes}
    return Run.from_keys(keys)


def test_runs_of_a_job_use_one_cluster_and_the_same_workers(seen: dict[str, list[Any]]) -> None:
    """Other methods, seeds, models and numbers of workers; each run gives what it gives alone."""
    changes: list[dict[str, Any]] = [
        {},
        {"client.name": "asam", "seed": 1},
        {"model.width": 16},
    ]
    with keeping():
        with keeping():
            found = [simulate(described("ray", **one, **{"engine.workers": 2})).digest for one in changes]
        assert ray.is_initialized()
        alone = simulate(described("ray", **{"engine.workers": 1})).digest
    assert not ray.is_initialized()
    assert not seen["folders"][0].exists()
    assert len(seen["folders"]) == 1
    first, second, third, last = seen["workers"]
    assert first == second == third > last
    assert len(last) == 1
    expected = [simulate(described("cohort", **one)).digest for one in changes]
    assert (found, alone) == (expected, expected[0])
    assert now() is None


def test_one_that_has_died_is_replaced(seen: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = simulate(described("cohort")).digest
    with keeping():
        assert simulate(described("ray")).digest == expected
        with monkeypatch.context() as patch:
            patch.setattr(joining, "_ended", lambda *needed: ["its raylet was killed"])
            joining.join(keep=True)
        assert simulate(described("ray")).digest == expected
    assert len(seen["folders"]) == 2
    assert not (seen["workers"][0] & seen["workers"][1])
