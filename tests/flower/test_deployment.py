"""Flower as its users start it: `flwr run`, and a deployment of separate processes on the loopback interface."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedsam import Run, simulate
from tests.cluster.test_cluster import LOOPBACK, listening
from tests.engine.test_started_engines import descendants

pytest.importorskip("flwr")
pytest.importorskip("ray")

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Processes:
    """What is started here, in an environment of its own; all of it is ended with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        home = folder / "flwr"
        home.mkdir()
        self.environment = {
            **os.environ,
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{name}.log").open("wb")
        process = subprocess.Popen(
            arguments, stdout=log, stderr=subprocess.STDOUT, env=self.environment, cwd=ROOT, start_new_session=True
        )
        log.close()
        self.started.append(process)
        return process

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def superlink(self, name: str, address: str) -> None:
        config = self.folder / "flwr" / "config.toml"
        config.write_text(f'[superlink.{name}]\naddress = "{address}"\ninsecure = true\n')

    def end(self) -> None:
        for process in self.started:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            process.wait()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path)
    yield found
    found.end()


def wait_for(process: subprocess.Popen[bytes], seconds: float, what: Path | None = None) -> None:
    """Until the process has ended, or `what` is there."""
    end = time.monotonic() + seconds
    while process.poll() is None and not (what is not None and what.exists() and what.stat().st_size):
        assert time.monotonic() < end, "took too long"
        time.sleep(0.2)


def wait_for_an_answer_at(port: int) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < end, "nothing listens"
            time.sleep(0.1)


def test_flwr_run_works_from_a_checkout(processes: Processes, tmp_path: Path) -> None:
    """In Flower's simulation runtime, behind a SuperLink; bit for bit the loop's result, at one thread."""
    port, out = free_port(), tmp_path / "run"
    link = processes.start("superlink", "flower-superlink", "--insecure", "--simulation", "--port", str(port))
    processes.superlink("here", f"127.0.0.1:{port}")
    settings = f"client.name='asam' client.rho=0.7 data.alpha=0.1 rounds=40 engine.threads=1 out='{out}'"
    nodes = "num-supernodes=20 client-resources-num-cpus=1"
    wait_for_an_answer_at(port)
    arguments = ["flwr", "run", ".", "here", "--stream", "--run-config", settings, "--federation-config", nodes]
    client = processes.start("run", *arguments)
    wait_for(client, 240, out / "metrics.jsonl")
    ours = descendants(link.pid)
    assert {"gcs_server", "raylet"} <= set(ours)
    assert listening({*ours.values(), link.pid}) <= LOOPBACK  # Ray's ports, which Flower opens, included
    wait_for(client, 240)
    keys = {"client.name": "asam", "client.rho": 0.7, "data.alpha": 0.1, "rounds": 40, "data.clients": 20}
    here = simulate(Run.from_keys({**keys, "engine.name": "loop", "engine.threads": 1}))
    assert f"digest: {here.digest}" in processes.log("run"), processes.log("run")
    assert json.loads((out / "run.json").read_text())["keys"]["engine.name"] == "flower"
    assert "engine flower (20 nodes, each running loop)" in processes.log("run")


def test_a_deployment_survives_the_death_of_a_node(processes: Processes, tmp_path: Path) -> None:
    """Three SuperNodes over a real connection; one is killed with SIGKILL in the second round."""
    port, out, clients = free_port(), tmp_path / "run", 3
    processes.start("superlink", "flower-superlink", "--insecure", "--port", str(port))
    processes.superlink("here", f"127.0.0.1:{port}")
    nodes = []
    for k in range(clients):
        config = f"partition-id={k} num-partitions={clients}"
        arguments = [
            "--insecure",
            "--superlink",
            f"127.0.0.1:{port}",
            "--port",
            str(free_port()),
            "--node-config",
            config,
        ]
        nodes.append(processes.start(f"node{k}", "flower-supernode", *arguments))
    settings = f"rounds=3 cohort=3 evaluate_every=1 engine.threads=1 engine.timeout=45.0 out='{out}'"
    wait_for_an_answer_at(port)
    client = processes.start("run", "flwr", "run", ".", "here", "--stream", "--run-config", settings)
    wait_for(client, 240, out / "metrics.jsonl")
    os.killpg(nodes[1].pid, signal.SIGKILL)
    wait_for(client, 300)
    assert (out / "model.safetensors").exists(), processes.log("run")
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [record["clients"] for record in records] == [[0, 1, 2], [0, 2], [0, 2]]
    assert {(failure["round"], failure["client"]) for r in records[1:] for failure in r["failures"]} == {(2, 1), (3, 1)}
    assert "round 2: client 1:" in processes.log("run")
    assert "the round goes on without it" in processes.log("run")
    keys = {"rounds": 1, "cohort": 3, "data.clients": 3, "engine.name": "loop", "engine.threads": 1}
    assert records[0]["test_loss"] == simulate(Run.from_keys(keys)).metrics[0]["test_loss"]
