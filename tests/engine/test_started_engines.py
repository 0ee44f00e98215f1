"""Engines that start processes: Flower's simulation gives the same run, and nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedsam import Run, simulate
from tests.support.processes import clusters_apart, descendants

pytest.importorskip("flwr")
pytest.importorskip("ray")

KEYS = {"data.clients": 20, "cohort": 10, "rounds": 3, "evaluate_every": 1, "client.name": "sam", "engine.threads": 1}
KEYS |= {"average.name": "swa", "average.cycle": 1, "average.start": 0.4}
MARK = "FEDSAM_TEST_OF_PROCESSES_LEFT"


@pytest.fixture(autouse=True)
def no_earlier_clusters() -> Iterator[None]:
    """What an earlier test has killed is not cleared, and told of, by a later one."""
    with clusters_apart():
        yield


def command(engine: str, *settings: str) -> list[str]:
    given = [f"{name}={value}" for name, value in KEYS.items()]
    return [sys.executable, "-m", "fedsam", "run", *given, f"engine.name={engine}", *settings]


def left() -> list[str]:
    """The processes that carry the mark."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if MARK.encode() in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_flower_gives_the_bits_of_the_loop(inside: Path) -> None:
    """Bit for bit, at one thread everywhere; and nothing but our own lines is printed."""
    elsewhere = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1"}  # a cluster of somebody else's is never joined
    done = subprocess.run(
        command("flower", "--json"), capture_output=True, text=True, timeout=300, check=False, env=elsewhere
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    here = simulate(Run.from_keys({**KEYS, "engine.name": "loop"}))
    assert result["digest"] == here.digest
    assert result["engine"] == "flower"
    assert (inside / result["out"] / "model.safetensors").exists()
    slow = ("nodes have connected", "given up after 600 s")  # of notes, where that takes long
    theirs = "Failed to push error to driver"  # of Ray's core, of a worker that ends later than its cluster
    lines = [line for line in done.stderr.splitlines() if not line.endswith(slow) and theirs not in line]
    assert lines[0] == f"{Run.from_keys(KEYS).title()}: engine flower (20 nodes, each running loop)"
    assert all("round" in line for line in lines[1:]), done.stderr
    other = simulate(Run.from_keys({**KEYS, "engine.name": "cohort"}))
    for name, tensor in other.state.items():  # other kernels: to rounding
        assert (tensor - here.state[name]).norm() <= 1e-5 * here.state[name].norm()


def under_way(engine: str) -> subprocess.Popen[str]:
    """A run without end that has told of its first rounds."""
    environment = {**os.environ, MARK: "1"}
    process = subprocess.Popen(command(engine, "rounds=100000"), stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    for line in process.stderr:
        if "round" in line and "rounds/s" in line:
            break
    return process


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("engine", ["ray", pytest.param("flower", marks=pytest.mark.slow)])
def test_an_interrupt_stops_everything_that_was_started(engine: str, inside: Path) -> None:
    process = under_way(engine)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "continue with: fedsam run --resume" in said
    wait_until_nothing_is_left()


def wait_until_nothing_is_left() -> None:
    for _ in range(300):
        if not left():
            break
        time.sleep(0.2)
    assert not left()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("engine", "killed", "says"),
    [
        ("ray", "gcs_server", "error: Ray has stopped working: its gcs_server was killed by SIGKILL"),
        ("ray", "", ""),
        ("flower", "gcs_server", "error: Ray has stopped working: its gcs_server was killed by SIGKILL"),
        ("flower", "raylet", "error: Ray has stopped working: its raylet was killed by SIGKILL"),
        ("flower", "", ""),
    ],
)
def test_what_is_killed_is_named_and_nothing_is_left(engine: str, killed: str, says: str, inside: Path) -> None:
    """A process of Ray, or all of Ray's owner at once; long before `engine.timeout` and Ray's own minute."""
    process = under_way(engine)
    os.kill(descendants(process.pid)[killed] if killed else process.pid, signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == (1 if killed else -signal.SIGKILL), said
    assert says in (said.splitlines() or [""])[-1]
    wait_until_nothing_is_left()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_a_process_of_flower_that_is_killed_costs_no_bit(inside: Path) -> None:
    process = subprocess.Popen(command("flower", "rounds=400", "--json"), stdout=-1, stderr=-1, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "round" in line and "rounds/s" in line:
            break
    while not (actors := [pid for name, pid in descendants(process.pid).items() if name.startswith("ray::ClientApp")]):
        assert process.poll() is None  # between two tasks Ray gives a process no name of its own
    os.kill(actors[0], signal.SIGKILL)
    printed, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert (
        json.loads(printed)["digest"] == simulate(Run.from_keys({**KEYS, "rounds": 400, "engine.name": "loop"})).digest
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("slow", ["raylet", "gcs_server"])
def test_ray_that_starts_slowly_is_waited_for(slow: str, inside: Path) -> None:
    """Longer than the 30 s that Ray itself waits; the third note comes after 45 s."""
    process = subprocess.Popen(command("ray", "--json"), stdout=-1, stderr=-1, text=True)
    while slow not in (found := descendants(process.pid)):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(found[slow], signal.SIGSTOP)
    assert process.stderr is not None
    told = [process.stderr.readline() for _ in range(3)]
    os.kill(found[slow], signal.SIGCONT)
    assert all(line.startswith("note: waiting for Ray to start for ") for line in told), told
    printed, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    here = simulate(Run.from_keys({**KEYS, "engine.name": "cohort"}))
    assert json.loads(printed)["engine"] == "ray"
    assert json.loads(printed)["test_accuracy"] == pytest.approx(here.metrics[-1]["test_accuracy"], abs=0.01)
