"""The Ray engine: the same bits whatever the number of workers, and whoever of them dies."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedsam import InputError, Run, RunError, simulate
from fedsam.cluster import patience
from fedsam.cluster.join import join
from fedsam.engine import ray as ray_engine
from fedsam.federated.round_loop import Simulation
from fedsam.runs.result import Listener, Result
from tests.support.interrupted import TIMES
from tests.support.ragged import Ragged
from tests.support.unruly import Broken, Deadly

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

pytestmark = pytest.mark.filterwarnings(  # Ray leaves files and processes to the garbage collector
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes on this machine; the engine finds itself in a cluster, and leaves it running."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    for folder in folders:
        (folder / "lies_elsewhere.py").write_text(f"WHERE = {folder.name!r}\n")
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    found.add_node(num_cpus=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, *map(str, folders)])
        joined = join(found.address)
    yield found
    joined.leave()
    found.shutdown()
    gc.collect()


def described(engine: str, **changes: Any) -> Run:
    """Digits, 20 clients, SAM, SWA, three rounds; one thread everywhere."""
    keys = {"data.clients": 20, "cohort": 10, "rounds": 3, "evaluate_every": 1, "client.name": "sam"}
    keys |= {"average.name": "swa", "average.cycle": 1, "average.start": 0.4}
    return Run.from_keys({**keys, "engine.name": engine, "engine.threads": 1, **changes})


@pytest.mark.parametrize(
    ("workers", "changes"),
    [
        (1, {}),
        (2, {}),
        (2, {"server.name": "fedsmoo"}),
        (2, {"privacy.name": "gaussian_adaptive", "privacy.count_noise": 0.5, "compress.name": "topk"}),
        (2, {"server.batchnorm": "local", "model.name": "tests.support.normalised:net"}),
    ],
)
def test_ray_gives_the_bits_of_the_engine_it_runs(cluster: Any, workers: int, changes: dict[str, Any]) -> None:
    """Bit for bit, at one thread and one block size; also where clients keep something."""
    changes = {"engine.block": 3, **changes}
    here = simulate(described("cohort", **changes))
    there = simulate(described("ray", **changes, **{"engine.workers": workers}))
    assert here.digest == there.digest


def test_workers_look_for_modules_where_this_process_does_and_in_the_same_order(cluster: Any) -> None:
    found = ray.remote(lambda: __import__("lies_elsewhere").WHERE).remote()
    assert ray.get(found, timeout=60).startswith("first")


class Hears(Listener):
    said = ""

    def started(self, run: Run, engine: str, reason: str, done: int) -> None:
        self.said = f"{engine}: {reason}"


LARGE = {"model.name": "cnn", "model.channels": 16, "data": Ragged(size=20, channels=3)}


def test_large_models_run_one_by_one_and_give_the_bits_of_the_loop(cluster: Any) -> None:
    changes = {**LARGE, "cohort": 7, "rounds": 2, "engine.block": 1}
    heard = Hears()
    here, there = (simulate(described(name, **changes), heard) for name in ("loop", "ray"))
    assert here.digest == there.digest
    assert heard.said == "ray: 2 workers on 1 thread each, running loop"


class Events(Listener):
    def __init__(self, at: int, act: Any) -> None:
        self.at, self.act = at, act

    def round(self, done: int) -> None:
        if done == self.at:
            self.act()


def test_a_worker_killed_in_mid_round_costs_no_bit(
    cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag = tmp_path / "deaths"
    flag.write_text("0")
    changes = {"client": Deadly(flag=str(flag), spared=os.getpid()), "engine.block": 2}
    undisturbed = simulate(described("cohort", **changes))
    flag.write_text("1")
    disturbed = simulate(described("ray", **{**changes, "engine.workers": 2}))
    assert flag.read_text() == "0"
    assert disturbed.digest == undisturbed.digest
    (message,) = [m for m in caplog.messages if "a worker was lost" in m]
    assert message.startswith("round 1: ")
    assert "are trained again elsewhere" in message


def test_clients_that_kill_every_worker_are_named(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "DEATHS", 2)
    flag = tmp_path / "deaths"
    flag.write_text("100")
    changes = {
        "client": Deadly(flag=str(flag), spared=os.getpid()),
        "engine.block": 10,
        "engine.workers": 1,
        "data.clients": 3,
        "cohort": 3,
    }
    with pytest.raises(RunError, match=r"round 1: 2 workers in turn died training clients 0, 1, 2: .*engine\.block"):
        simulate(described("ray", **changes))


def test_a_node_removed_in_mid_run_costs_no_bit(cluster: Any, caplog: pytest.LogCaptureFixture) -> None:
    changes = {"engine.block": 2, "rounds": 4}
    undisturbed = simulate(described("cohort", **changes))
    extra = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    remove = Events(2, lambda: cluster.remove_node(extra, allow_graceful=False))
    with caplog.at_level(logging.WARNING, logger="fedsam"):
        disturbed = simulate(described("ray", **{**changes, "engine.workers": 3}), remove)
    assert disturbed.digest == undisturbed.digest


def test_a_client_that_raises_is_named_and_can_be_left_out(cluster: Any) -> None:
    changes = {"data": Broken(), "cohort": 7}
    with pytest.raises(RunError, match=r"round 1: client 4: IndexError: .*out of"):
        simulate(described("ray", **changes, **{"engine.workers": 1}))
    skipping = {**changes, "engine.on_client_error": "skip", "server.name": "fedcm", "client.name": "sgd"}
    here, there = (simulate(described(name, **skipping, **{"engine.block": 1})) for name in ("cohort", "ray"))
    assert here.digest == there.digest
    assert there.metrics[0]["clients"] == [0, 1, 2, 3, 5, 6]


def test_what_the_cluster_lacks_is_an_input_error(cluster: Any) -> None:
    with pytest.raises(InputError, match=r"engine\.threads = 64: the cluster has \d cores"):
        simulate(described("ray", **{"engine.threads": 64}))


def test_workers_are_waited_for_as_long_as_is_said(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Others have the cores, and give them back once it has been said that they are waited for."""
    monkeypatch.setattr(patience, "EVERY", 0.5)

    @ray.remote(num_cpus=1, max_restarts=0)
    class Other:
        def there(self) -> bool:
            return True

    others = [Other.remote() for _ in range(2)]
    ray.get([other.there.remote() for other in others])
    changes, one = {"engine.block": 3, "rounds": 1}, {"engine.workers": 1}
    with pytest.raises(
        RunError, match=r"none came up within 1 s \(engine\.wait\); 0 of the cluster's \d cores are free"
    ):
        simulate(described("ray", **changes, **one, **{"engine.wait": 1.0}))

    class Leaves(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            while others:
                ray.kill(others.pop())

    monkeypatch.setattr(logging.getLogger("fedsam"), "handlers", [Leaves()])
    here, there = simulate(described("cohort", **changes)), simulate(described("ray", **changes, **one))
    assert here.digest == there.digest
    assert not others
    assert any("waiting for a Ray worker to come up for " in message for message in caplog.messages)


def test_blocks_grow_as_the_work_of_a_client_shrinks() -> None:
    def blocks(one_by_one: bool = False, on_gpu: bool = False, **changes: Any) -> list[list[int]]:
        simulation = Simulation(described("auto", **{"cohort": 20, **changes}))
        order = simulation.order(simulation.clock(), 0.1)
        sizes_K = simulation.trainer.sizes(order.ids)
        found = ray_engine.blocks(simulation.context, order, sizes_K, 0, one_by_one, on_gpu)
        assert sorted(row for block in found for row in block) == list(range(20))
        return found

    assert len(blocks()) == 1
    large = {"model.width": 50_000}
    assert [len(block) for block in blocks(one_by_one=True, **large)] == [3] * 6 + [2]
    assert [len(block) for block in blocks(**large)] == [2] * 10  # which a worker trains as one
    assert len(blocks(on_gpu=True, **large)) < 10


def test_clients_are_evaluated_and_their_images_skewed_as_in_process(cluster: Any) -> None:
    keys = {"data.skew": "feature", "data.skew_noise": 0.2, "data.local_test": 0.3, "local.every": 1}
    keys |= {"server.name": "scaffold", "client.name": "sgd", "engine.block": 3, "rounds": 2}
    here, there = (simulate(described(engine, **keys)) for engine in ("cohort", "ray"))
    assert here.digest == there.digest
    assert [record["local"] for record in here.metrics] == [record["local"] for record in there.metrics]
    assert here.digest == simulate(described("cohort", **{**keys, "local.every": 0})).digest


# system heterogeneity and diagnostics

REAL = {"system.name": "simulated", "system.dropout": 0.2, "system.work_min": 0.2, "system.spread": 0.8}
REAL |= {"system.deadline": 12.0, "system.late": "partial", "system.available": 0.8}


def small(engine: str, **changes: Any) -> Run:
    """Seven clients of very different sizes, in blocks of three."""
    keys = {"cohort": 7, "rounds": 3, "evaluate_every": 1, "engine.threads": 1}
    return Run.from_keys({**keys, "engine.name": engine, "engine.block": 3, **changes})


def told(result: Result) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k not in TIMES} for record in result.metrics]


def test_ray_gives_the_bits_and_records_of_the_cohort(cluster: Any) -> None:
    """Which clients form a block goes by the steps that they do."""
    changes = {**REAL, "data": Ragged(), "model.width": 8, "diagnostics.every": 2, "server.name": "scaffold"}
    here = simulate(small("cohort", **changes))
    there = simulate(small("ray", **changes, **{"engine.workers": 2}))
    assert there.digest == here.digest
    assert told(there) == told(here)
    assert sum(record["turnout"]["shortened"] for record in here.metrics) > 3


def test_measuring_updates_changes_no_bit(cluster: Any) -> None:
    """Workers train three clients one by one and add them up before they answer."""
    changes, heard = {**LARGE, "rounds": 2}, Hears()
    on, off = (
        simulate(small("ray", **changes, **{"engine.workers": workers, "diagnostics.every": every}), heard)
        for workers, every in ((2, 1), (1, 0))
    )
    assert heard.said == "ray: 1 worker on 1 thread each, running loop"
    assert on.digest == off.digest
    assert on.metrics[0]["diagnostics"]["clients"] == 7
    here = simulate(small("loop", **changes, **{"diagnostics.every": 1}))
    for one, other in zip(here.metrics, on.metrics, strict=True):
        assert one["diagnostics"] == pytest.approx(other["diagnostics"], rel=1e-3)
