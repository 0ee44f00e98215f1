"""Ray clusters that are started or joined: who gets in, what listens where, and what is left of them."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedsam import InputError, RunError
from fedsam.cluster import join as joining
from fedsam.cluster import keeper, patience, secret
from fedsam.cluster.join import Cluster, join, must_answer
from fedsam.flower.runtime import Runtime, silence
from tests.support.processes import LOOPBACK, listening

ray = pytest.importorskip("ray")

pytestmark = [
    pytest.mark.filterwarnings(  # Ray leaves files and processes to the garbage collector
        "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
    ),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc"),
]
NOBODYS = "127.0.0.1:1"


class Own:
    """A cluster of this process's own, started while RAY_ADDRESS names another."""

    def __init__(self) -> None:
        before = dict(os.environ)
        self.cluster = join()
        self.changed = set(before.items()) ^ set(os.environ.items())
        self.address = str(ray.get_runtime_context().gcs_address)
        told = ray.remote(lambda: (os.environ[keeper.MARK], os.environ[secret.TOKEN])).remote()
        folder, self.token = ray.get(told)
        self.folder = Path(folder)

    def stranger(self, **environment: str) -> subprocess.Popen[str]:
        """Another process of this machine that tries to join and to have code run."""
        code = (
            "import sys, ray; from fedsam.cluster.join import join; join(sys.argv[1]);"
            " print('in', ray.get(ray.remote(lambda: 7).remote()))"
        )
        known = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        here = {**known, **joining.LOOPBACK, "HOME": str(self.folder / "nobody"), **environment}
        return subprocess.Popen([sys.executable, "-c", code, self.address], env=here, stdout=-1, stderr=-1, text=True)


@pytest.fixture(scope="module")
def own() -> Iterator[Own]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", NOBODYS)
        found = Own()
    yield found
    found.cluster.leave()
    gc.collect()  # what Ray leaves, while that is nobody's fault


def test_strangers_are_refused_and_the_token_opens(own: Own, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(own.token)
    without, wrong = own.stranger(), own.stranger(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
    right = own.stranger(RAY_AUTH_TOKEN_PATH=str(tmp_path / "token"))
    for process in (without, wrong):
        printed, said = process.communicate(timeout=120)
        assert process.returncode == 1
        assert printed == ""
        assert f"InputError: address = {own.address}: the cluster wants its token" in said.splitlines()[-1]
    printed, said = right.communicate(timeout=120)
    assert printed == "in 7\n", said


def test_it_listens_on_the_loopback_interface_alone(own: Own) -> None:
    members = keeper.members(own.folder)
    assert len(members) >= 5
    assert os.getpid() not in members
    addresses = listening(members | {os.getpid()})
    assert addresses
    assert addresses <= LOOPBACK


def test_its_token_is_written_down_nowhere(own: Own) -> None:
    for pid in keeper.members(own.folder):
        assert own.token.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    files = [path for path in own.folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if own.token.encode() in path.read_bytes()]
    assert own.folder.stat().st_mode & 0o077 == 0
    assert not own.changed


def test_a_process_in_a_cluster_starts_no_other(own: Own) -> None:
    inner = join()
    inner.leave()
    assert ray.is_initialized()
    with pytest.raises(InputError, match=r"name = flower: .* starts a Ray cluster of its own"):
        Runtime(2, 1, 0.0)
    assert ray.is_initialized()


def test_one_cluster_after_the_other_in_one_process(own: Own) -> None:
    """The first is gone without a trace; the next has another token. Only this test needs a second one."""
    own.cluster.leave()
    assert not own.folder.exists()
    assert not keeper.members(own.folder)
    with secret.environment({"RAY_AUTH_MODE": "disabled"}):
        next_one = Own()
    try:
        assert next_one.token != own.token
        assert next_one.folder != own.folder
    finally:
        next_one.cluster.leave()
        gc.collect()


# what is left by those that are killed

OWNER = """
import os, subprocess, sys, time
from pathlib import Path
from fedsam.cluster import keeper
folder, lock = keeper.make()
if sys.argv[1] == "kept":
    keeper.start(folder)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], env={keeper.MARK: str(folder)})
print(folder, child.pid, flush=True)
time.sleep(1000)
"""


def killed_owner(kind: str) -> tuple[Path, int]:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, kind], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    folder, child = owner.stdout.readline().split()
    assert (Path(folder), 1) not in keeper.clear_dead()  # it is alive
    while int(child) not in keeper.members(Path(folder)):  # its environment is there a moment after itself
        assert owner.poll() is None
        time.sleep(0.01)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    return Path(folder), int(child)


def wait_until_gone(folder: Path) -> None:
    end = time.monotonic() + 60
    while folder.exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_a_killed_owner_leaves_is_ended_by_its_keeper() -> None:
    folder, _ = killed_owner("kept")
    wait_until_gone(folder)
    assert not keeper.members(folder)


def test_what_a_keeper_could_not_end_is_cleared_by_the_next_start() -> None:
    folder, child = killed_owner("alone")
    assert folder.exists()
    assert child in keeper.members(folder)
    keeper.clear_dead()
    wait_until_gone(folder)  # another test's start may have been quicker
    assert not keeper.members(folder)


def test_one_that_has_just_ended_by_itself_is_not_called_killed() -> None:
    """Between an owner's end and its keeper's work another start may find the folder."""
    folder, lock = keeper.make()
    keeper.give_up(folder, lock)
    assert keeper.clear_dead() == []
    assert not folder.exists()
    folder, lock = keeper.make()
    os.close(lock)  # as a kill does
    assert keeper.clear_dead() == [(folder, 0)]


def test_folders_have_names_that_sockets_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * 30)
    assert keeper.parent() == Path("/tmp")
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * 10)
    assert keeper.parent() == Path("/xxxxxxxxxx")


# waiting


def test_a_wait_is_told_and_ends(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    wait = patience.Patience("a worker", 40.0)
    for now[0] in (110.0, 116.0, 117.0, 132.0, 139.9):
        assert not wait.over(lambda: "0 of 2 cores are free")
    now[0] = 140.1
    assert wait.over()
    assert caplog.messages == [
        "waiting for a worker for 16 s (0 of 2 cores are free); given up after 40 s",
        "waiting for a worker for 32 s (0 of 2 cores are free); given up after 40 s",
    ]


def test_ray_is_waited_for_as_long_as_its_process_lives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ray gives up after 30 s, whatever it waits for."""
    from ray._private import services

    alive, calls = ["raylet"], []

    def get_node(*arguments: Any) -> str:
        calls.append(arguments)
        if len(calls) < 4:
            raise RuntimeError("not there yet")
        return "there"

    monkeypatch.setattr(services, "get_node", get_node)
    monkeypatch.setattr(keeper, "runs", lambda folder, name: name in alive)
    monkeypatch.setattr(patience, "PAUSE", 0.0)
    with patience.starting(tmp_path, 600.0):
        assert services.get_node("here", "id") == "there"
    assert calls == [("here", "id")] * 4
    assert services.get_node is get_node
    calls.clear()
    alive.clear()
    with patience.starting(tmp_path, 600.0), pytest.raises(RuntimeError, match="not there yet"):
        services.get_node("here", "id")
    assert len(calls) == 1


def node(**ended: int) -> Any:
    """A stand-in for Ray's, some of whose processes have ended with these statuses."""
    dead = [(name, SimpleNamespace(returncode=status)) for name, status in ended.items()]
    return SimpleNamespace(dead_processes=lambda: dead, all_processes={"gcs_server": [], "raylet": []})


def test_a_process_of_ray_that_has_ended_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    monkeypatch.setattr(joining, "_node", lambda: node(dashboard=1))
    cluster.check()
    monkeypatch.setattr(joining, "_node", lambda: node(raylet=-9))
    with pytest.raises(RunError, match="Ray has stopped working: its raylet was killed by SIGKILL; if memory was"):
        cluster.check()
    monkeypatch.setattr(joining, "LOOK", 0.0)
    cluster.check(going=True)  # workers that are at work go on
    monkeypatch.setattr(joining, "_node", lambda: node(gcs_server=1))
    with pytest.raises(RunError, match="its gcs_server ended with status 1"):
        cluster.check(going=True)


def test_the_head_of_a_joined_cluster_that_is_gone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as head:
        there = f"127.0.0.1:{head.getsockname()[1]}"
        monkeypatch.setattr(joining, "_node", lambda: SimpleNamespace(dead_processes=list, all_processes={}))
        monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address=there))
        monkeypatch.setattr(joining, "LOOK", 0.5)
        cluster = Cluster()
        cluster.looked -= 1.0
        cluster.check()
    cluster.looked -= 1.0
    cluster.check()  # a head may be started again
    cluster.looked -= 1.0
    cluster.answered -= joining.SILENCE
    with pytest.raises(RunError, match=r"the head of the Ray cluster has been gone for 1. s"):
        cluster.check()


# what is refused, and what is not said


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "127.0.0.1:port", "127.0.0.1:99999999999"])
def test_an_address_without_a_cluster_is_refused_at_once(address: str) -> None:
    with pytest.raises(InputError, match=f"address = {address}: no Ray cluster could be reached there"):
        must_answer(address)
    with pytest.raises(InputError, match="Ray Client cannot share memory"):
        must_answer("ray://127.0.0.1:10001")


def test_ray_without_tokens_starts_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret, "_loader", lambda: None)
    with pytest.raises(InputError, match="cannot keep strangers out"):
        join()
    assert not ray.is_initialized()


def test_what_workers_print_does_not_go_to_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import worker

    printed: list[dict[str, Any]] = []
    monkeypatch.setattr(worker, "print_to_stdstream", lambda data, ignore_prefix: printed.append(data))
    for quiet in (True, False):
        with joining._printing(quiet):
            worker.print_to_stdstream({"lines": ["hello", "you"], "is_err": False, "pid": 3}, False)
            worker.print_to_stdstream({"lines": ["it died\nlast lines:\n..."], "is_err": False, "pid": "raylet"}, False)
    assert [(data["lines"], data["is_err"]) for data in printed] == [(["hello", "you"], True), (["it died"], True)]


def test_flower_sends_nothing_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = pytest.importorskip("flwr.supercore.telemetry")
    monkeypatch.setattr(telemetry, "FLWR_TELEMETRY_ENABLED", "1")
    monkeypatch.delenv("FLWR_TELEMETRY_ENABLED", raising=False)
    silence()
    assert telemetry.FLWR_TELEMETRY_ENABLED == "0"
