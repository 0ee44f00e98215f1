"""What clients keep from round to round: on every engine, across a resume, in memory and in a file."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fedsam import InputError, Run, resume, simulate
from fedsam.algorithm.strategy import Strategy
from fedsam.config import find, names
from fedsam.errors import Interrupted, RunError
from fedsam.federated.client_state import ClientStates
from fedsam.federated.device_state import CHUNK, DeviceStates
from fedsam.federated.round_loop import Simulation
from fedsam.runs.checkpoint import Checkpoint
from fedsam.runs.directory import RunDirectory
from fedsam.strategies.scaffold import Scaffold
from tests.support.flower_grid import Nodes, inside_flower  # noqa: F401
from tests.support.interrupted import StopAt, outcome
from tests.support.ragged import Ragged

STATEFUL = [name for name in names(Strategy) if find(Strategy, name).client_state]


def described(server: str, **changes: Any) -> Run:
    client = "sgd" if server in ("fedlesam", "fedlesam_s", "fedlesam_d", "fedwmsam") else "sam"
    keys = {"data": Ragged(), "cohort": 4, "rounds": 6, "evaluate_every": 2, "checkpoint_every": 1, "engine.threads": 1}
    return Run.from_keys({**keys, "client.name": client, "server.name": server, "engine.name": "loop", **changes})


def test_there_are_such_strategies() -> None:
    assert {"scaffold", "feddyn", "fedsmoo", "fedwmsam"} <= set(STATEFUL)


@pytest.mark.parametrize("server", STATEFUL)
def test_a_stopped_run_ends_in_the_same_bytes(server: str, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    simulate(described(server, out=str(whole)))
    listener = StopAt(3)
    with pytest.raises(Interrupted):
        simulate(described(server, out=str(stopped)), listener, listener.stop)
    resume(stopped)
    assert outcome(whole) == outcome(stopped)


@pytest.mark.parametrize("server", STATEFUL)
@pytest.mark.usefixtures("inside_flower")
def test_nodes_keep_it_over_flower(server: str, tmp_path: Path) -> None:
    """Bit for bit the loop's result; and no checkpoint can hold what the nodes have."""
    from fedsam.engine.flower import Flower

    run = described(server)
    here = simulate(run)
    there = simulate(run.replace(engine=Flower(threads=1).over(Nodes(7)), out=str(tmp_path / "run")))
    assert here.digest == there.digest
    traffic = [(record["bytes_up"], record["bytes_down"]) for record in here.metrics]
    assert traffic == [(record["bytes_up"], record["bytes_down"]) for record in there.metrics]
    checkpoint = RunDirectory(tmp_path / "run").load_checkpoint()
    assert checkpoint is not None
    assert not any(name.startswith("slots.") for name in checkpoint.tensors)
    assert checkpoint.kept == {}
    with pytest.raises(InputError, match="keep vectors at Flower's nodes, which no checkpoint holds"):
        resume(tmp_path / "run", engine=Flower(threads=1).over(Nodes(7)))


def test_traffic_counts_what_goes_beside_the_model() -> None:
    plain, scaffold, fedcm = (
        simulate(described(name, **{"client.name": "sgd"})) for name in ("fedavg", "scaffold", "fedcm")
    )
    for one, other in zip(plain.metrics, scaffold.metrics, strict=True):
        assert (other["bytes_up"], other["bytes_down"]) == (2 * one["bytes_up"], 2 * one["bytes_down"])
    for one, other in zip(plain.metrics, fedcm.metrics, strict=True):
        assert (other["bytes_up"], other["bytes_down"]) == (one["bytes_up"], 2 * one["bytes_down"])


def test_a_file_beyond_the_limit_changes_nothing() -> None:
    assert (
        simulate(described("scaffold")).digest == simulate(described("scaffold", **{"server.state_memory": 0})).digest
    )
    spilled = Simulation(described("scaffold", **{"server.state_memory": 0}))
    spilled.advance()
    assert isinstance(spilled.client_state, ClientStates)
    assert spilled.client_state.spilled == 4


@pytest.mark.parametrize("limit", [0.0, 1e9])
def test_vectors_of_clients(limit: float) -> None:
    client_state = ClientStates({"a": 3, "b": 3}, torch.float64, limit)
    assert client_state.kept()[0] == []
    ids = list(range(5, 5 + CHUNK + 4))
    values = {name: torch.randn(len(ids), 3, dtype=torch.float64, generator=_seeded(name)) for name in ("a", "b")}
    client_state.keep(ids, values)
    assert client_state.spilled == (len(ids) if limit == 0 else 0)
    found = client_state.rows([40, 99, 7])
    for name in ("a", "b"):
        assert torch.equal(found[name], torch.stack([values[name][35], torch.zeros(3).double(), values[name][2]]))
    client_state.keep([7], {name: torch.ones(1, 3) for name in ("a", "b")})
    other = ClientStates({"a": 3, "b": 3}, torch.float64, 1e9)
    other.restore(*client_state.kept())
    assert torch.equal(other.rows(ids)["a"], client_state.rows(ids)["a"])
    assert torch.equal(other.rows([7])["b"], torch.ones(1, 3).double())
    assert torch.equal(other.rows([99])["b"], torch.zeros(1, 3).double())


def _seeded(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(ord(name))


def test_the_devices_memory_and_the_hosts_hold_the_same() -> None:
    """Random rounds, with room on the device for none, for some and for all clients, against the host's alone."""
    sizes, rng, device = {"control": 5, "momentum": 5, "loss": 1}, torch.Generator().manual_seed(0), torch.device("cpu")
    for room in (0, 40, 3 * CHUNK):
        states = DeviceStates(sizes, torch.float64, 2**20, device, 11 * 8 * room)
        expected = ClientStates(sizes, torch.float64, 2**20)
        for _ in range(40):
            ids = torch.randperm(70, generator=rng)[:6].tolist()
            rows = states.rows(ids)
            assert list(rows) == list(sizes)
            for name, kept_KP in expected.rows(ids).items():
                assert torch.equal(rows[name], kept_KP)
            new = {name: torch.randn(6, size, generator=rng, dtype=torch.float64) for name, size in sizes.items()}
            states.keep(ids, new)
            expected.keep(ids, new)
            assert not torch.equal(rows["control"], states.rows(ids)["control"])  # what was handed out stays as it was
        saved = states.kept()
        assert len(saved[0]) == len(set(saved[0])) > 64
        again = DeviceStates(sizes, torch.float64, 2**20, device, 11 * 8 * 50)
        again.restore(*saved)
        for name, kept_KP in expected.rows(range(70)).items():
            assert torch.equal(again.rows(range(70))[name], kept_KP)
        assert states.rows([99])["control"].tolist() == [[0.0] * 5]


def test_without_vectors_nothing_is_kept() -> None:
    states = DeviceStates({}, torch.float32, 0, torch.device("cpu"), 2**20)
    assert (states.rows([0, 1]), states.kept()) == ({}, ([], {}))
    states.restore([], {})


def test_a_full_disk_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, **_: Any) -> None: ...
        def seek(self, place: int) -> None: ...
        def close(self) -> None: ...
        def write(self, data: memoryview) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", Full)
    states = ClientStates({"a": 3}, torch.float32, 0)
    with pytest.raises(RunError, match=r"^cannot write \S+.*server\.state_memory\): No space left on device; [^\n]*$"):
        states.keep([1], {"a": torch.ones(1, 3)})


def test_a_checkpoint_of_many_clients_is_never_whole_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is 4 kB: pieces are of 64 kB here, in both ways, whatever the limit of memory."""
    monkeypatch.setattr("fedsam.storage.tensors.PIECE", 2**16)
    sizes, ids = {"control": 1000, "loss": 1}, list(range(3, 403))
    directory = RunDirectory.create(tmp_path / "run", Run(), {})
    read: list[int] = []
    vectors = ClientStates.vectors

    def noted(self: ClientStates, name: str, some: Sequence[int]) -> Tensor:
        read.append(len(some))
        return vectors(self, name, some)

    monkeypatch.setattr(ClientStates, "vectors", noted)
    for limit in (0.0, 2e5, 1e9):
        states = ClientStates(sizes, torch.float32, limit)
        values = {name: torch.randn(len(ids), size, generator=_seeded(name[0])) for name, size in sizes.items()}
        states.keep(ids, values)
        read.clear()
        directory.save_checkpoint(Checkpoint.of(1, {"theta": torch.ones(2)}, {}, *states.kept()))
        assert max(read[:-1]) == 2**16 // 4000
        assert sum(read) == 2 * len(ids)
        checkpoint = directory.load_checkpoint()
        assert checkpoint is not None
        assert set(checkpoint.tensors) == {"theta", "slots.ids"}
        again = ClientStates(sizes, torch.float32, limit)
        again.restore(*checkpoint.client_state(sizes, 1000, torch.float32))
        assert again.spilled == states.spilled
        for name, value in values.items():
            assert torch.equal(again.rows(ids)[name], value)


def test_after_a_full_disk_nothing_follows_the_one_line(tmp_path: Path) -> None:
    """Files of this process may be of 8 kB; what a disk has no room for is the same error."""
    code = (
        "import resource, signal, torch\nfrom fedsam.errors import RunError\n"
        "from fedsam.federated.client_state import ClientStates\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "states = ClientStates({'a': 1500}, torch.float32, 0)\n"
        "states.keep([1], {'a': torch.ones(1, 1500)})\n"
        "try: states.keep([2], {'a': torch.ones(1, 1500)})\n"
        "except RunError as error: print(error)\n"
        "assert states.rows([1])['a'].sum() == 1500"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"cannot write \S+what clients keep .*: File too large; [^\n]*\n", done.stdout)


class Numbered(Scaffold):
    """Of somebody who calls what clients keep by a name that checkpoints need."""

    client_state = ("control", "ids")


def test_a_name_that_checkpoints_need_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^server\.name = .*Numbered: its clients keep vectors called ids, .*otherwise$"
    ):
        Simulation(Run(server=Numbered(), cohort=2))
