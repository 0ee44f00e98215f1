"""Flower as its users start it: `flwr run`, and a deployment of separate processes on the loopback interface."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from fedsam import Run, simulate
from tests.support.processes import (
    LOOPBACK,
    Processes,
    descendants,
    free_port,
    listening,
    wait_for,
    wait_for_an_answer_at,
)

pytest.importorskip("flwr")
pytest.importorskip("ray")

pytestmark = pytest.mark.slow


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
