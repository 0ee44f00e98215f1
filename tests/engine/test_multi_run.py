"""Runs that differ in numbers, trained as one: the same as trained apart."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fedsam.engine.cohort import L2_CACHE
from fedsam.engine.multi_run import JointTrainer, MultiRun, hyperparameters_of, with_hyperparameters
from fedsam.errors import FedsamError, Interrupted
from fedsam.federated.round_loop import Simulation
from fedsam.federated.simulate import resume, simulate
from fedsam.run import Run
from fedsam.runs.directory import RunDirectory
from fedsam.runs.result import Listener
from fedsam.sweeps.batched import FEWEST, _joint, carry_out_together, groups
from fedsam.sweeps.grid import settings
from tests.support.algorithms import CASES
from tests.support.ragged import Ragged

BASE: dict[str, Any] = {"rounds": 6, "cohort": 3, "data.clients": 8, "client.epochs": 1, "engine.threads": 1}
BASE |= {"evaluate_every": 2, "checkpoint_every": 2}


def made(**keys: Any) -> list[Run]:
    """A run for each combination, by keys with `__` for the dot."""
    return list(settings({**BASE, **{name.replace("__", "."): value for name, value in keys.items()}}).values())


def test_who_is_trained_together() -> None:
    assert groups(made(client__lr="0.1,0.2,0.3")) == [[0, 1, 2]]
    assert groups(made(client__name="sam", client__rho="0.1,0.2", client__lr="0.1,0.2")) == [[0, 1, 2, 3]]
    assert groups(made(client__name="sam", client__rho="0,0.1,0.2")) == [[0], [1, 2]]
    assert groups(made(client__momentum="0,0.5,0.9", client__weight_decay="0,0.1")) == [[0], [1], [2, 4], [3, 5]]
    assert groups(made(client__name="sam", client__momentum="0.1,0.2")) == [[0, 1]]
    assert groups(made(client__name="sgd,sam")) == [[0], [1]]
    assert groups(made(client__name="asam", client__eta="none,0.1,0.2")) == [[0], [1, 2]]
    assert groups(made(client__batch_size="8,16")) == [[0], [1]]
    assert groups(made(server__lr="0.5,1.0")) == [[0], [1]]
    assert groups([run.replace(seed=seed) for run in made(client__lr="0.1,0.2") for seed in (0, 1)]) == [[0, 2], [1, 3]]
    assert groups([run.replace(out=str(n)) for n, run in enumerate(made(client__lr="0.1,0.2"))]) == [[0, 1]]
    assert groups(made(client__lr="0.1,0.2,0.3"), most=2) == [[0, 1], [2]]


def test_numbers_reach_into_parts() -> None:
    (run,) = made(client__name="late", client__ascent="asam", client__momentum=0.5)
    assert hyperparameters_of(run.client) == {"ascent.rho": 0.7, "ascent.base.momentum": 0.5}
    other: Any = with_hyperparameters(run.client, {"ascent.rho": 0.25, "ascent.base.momentum": 0.75})
    assert (other.ascent.rho, other.ascent.base.momentum) == (0.25, 0.75)
    assert hyperparameters_of(run.client)["ascent.rho"] == 0.7


def advanced(runs: list[Run], rounds: int) -> list[Simulation]:
    """The runs after so many rounds as one."""
    first = Simulation(runs[0])
    joint = MultiRun(len(runs), first.federation)
    simulations = [Simulation(run, joint) for run in runs]
    for simulation in simulations:
        simulation.trainer._alone = None  # type: ignore[attr-defined]  # there is no other way

    def go(simulation: Simulation) -> None:
        for _ in range(rounds):
            simulation.advance()

    threads = [threading.Thread(target=go, args=(simulation,)) for simulation in simulations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return simulations


def close(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).norm() <= 1e-10 * b.norm())


CLIENTS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": "0.5,0.9", "weight_decay": 0.01},
    "nesterov": {"momentum": "0.5,0.9", "nesterov": "true"},
    "adamw": {"weight_decay": "0.01,0.1"},
    "sam": {"rho": "0.05,0.3"},
    "asam": {"rho": "0.5,1.0", "eta": 0.1},
    "asam eta": {"name": "asam", "eta": "0.1,0.3"},
    "lookbehind": {"rho": "0.05,0.2", "k": 2},
    "gsam": {"rho": "0.05,0.2"},
    "looksam": {"rho": "0.05,0.2"},
    "fsam": {"rho": "0.05,0.2"},
    "lion": {"weight_decay": "0.01,0.1"},
    "muon": {"momentum": "0.5,0.9", "weight_decay": 0.01},
    "wsam": {"rho": "0.05,0.2"},
    "esam": {"rho": "0.05,0.2"},
    "adversarial": {"momentum": "0.5,0.9"},
    "late": {"rho": "0.1,0.4", "switch": 1},
}


@pytest.mark.parametrize("name", CLIENTS)
def test_every_client_optimiser_as_apart(name: str) -> None:
    keys = {"name": {"nesterov": "sgd"}.get(name, name), "lr": "0.05,0.1", "batch_size": 4, **CLIENTS[name]}
    engine = {"engine__name": "cohort", "engine__precision": "fp64"}
    runs = made(**{f"client__{key}": value for key, value in keys.items()}, **engine)
    runs = [run.replace(data=Ragged(), cohort=5) for run in runs]
    assert len(runs) == 4
    assert groups(runs) == [[0, 1, 2, 3]]
    found = [simulation.theta_P for simulation in advanced(runs, 3)]
    for run, theta_P in zip(runs, found, strict=True):
        alone = Simulation(run)
        for _ in range(3):
            alone.advance()
        assert close(theta_P, alone.theta_P)
    assert all((found[0] - theta_P).norm() > 1e-4 * found[0].norm() for theta_P in found[1:])


@pytest.mark.parametrize("case", CASES)
def test_every_strategy_as_apart(case: str) -> None:
    server, client, *_ = CASES[case]
    server_keys = {f"server.{key}": value for key, value in ({"name": case.split(maxsplit=1)[0]} | server).items()}
    client_keys = {f"client.{key}": value for key, value in ({"batch_size": 4, "epochs": 1} | client).items()}
    rest = {"engine.name": "cohort", "engine.precision": "fp64", "cohort": 4, "rounds": 5}
    runs = [Run.from_keys({**server_keys, **client_keys, **rest, "client.lr": lr}) for lr in (0.02, 0.05)]
    runs = [run.replace(data=Ragged()) for run in runs]
    for run, together in zip(runs, advanced(runs, 4), strict=True):
        alone = Simulation(run)
        for _ in range(4):
            alone.advance()
        assert close(together.theta_P, alone.theta_P)


def carried_out(runs: list[Run], out: Path, **more: Any) -> tuple[list[Run], dict[int, FedsamError | None]]:
    runs = [run.replace(out=str(out / str(place))) for place, run in enumerate(runs)]
    ended: dict[int, FedsamError | None] = {}
    carry_out_together(runs, ended.__setitem__, **more)
    return runs, ended


def digests(runs: list[Run]) -> list[str]:
    return [simulate(run.replace(out=None)).digest for run in runs]


def recorded(run: Run) -> list[dict[str, Any]]:
    aside = {"seconds", "eval_seconds"}
    return [
        {k: v for k, v in record.items() if k not in aside}
        for record in RunDirectory.open(Path(str(run.out)))[0].metrics()
    ]


def saved(run: Run) -> bytes:
    return (Path(str(run.out)) / "model.safetensors").read_bytes()


def test_small_perceptrons_get_the_same_bits_as_apart(tmp_path: Path) -> None:
    runs, ended = carried_out(made(client__name="sam", client__rho="0.1,0.2,0.4"), tmp_path / "a")
    assert ended == {0: None, 1: None, 2: None}
    for run in runs:
        alone = run.replace(out=f"{run.out}-alone")
        simulate(alone)
        assert saved(run) == saved(alone)
        assert recorded(run) == recorded(alone)


def test_one_that_diverges_leaves_the_others_alone(tmp_path: Path) -> None:
    runs, ended = carried_out(made(client__lr="0.1,1e30,0.2"), tmp_path)
    assert ended[0] is ended[2] is None
    assert "not finite" in str(ended[1])
    alone = runs[2].replace(out=str(tmp_path / "alone"))
    simulate(alone)
    assert saved(runs[2]) == saved(alone)


class StopsAt(Listener):
    def __init__(self, rounds: int) -> None:
        self.stop, self.rounds = threading.Event(), rounds

    def round(self, done: int) -> None:
        if done >= self.rounds:
            self.stop.set()


def test_stopped_and_continued_to_the_same_bits(tmp_path: Path) -> None:
    runs = made(client__lr="0.1,0.2,0.3")
    listener = StopsAt(8)
    with pytest.raises(Interrupted, match="stopped after round"):
        carried_out(runs, tmp_path / "a", listener=listener, stop=listener.stop)
    begun = [run.replace(out=str(tmp_path / "a" / str(place))) for place, run in enumerate(runs)]
    done = [RunDirectory.open(Path(str(run.out)))[0].load_checkpoint().round for run in begun]
    assert all(0 < rounds < 6 for rounds in done)
    resume(str(begun[1].out))  # one goes on by itself, and the others are behind it
    carried_out(runs, tmp_path / "a")
    whole, _ = carried_out(runs, tmp_path / "b")
    assert [saved(run) for run in begun] == [saved(run) for run in whole]
    assert [recorded(run) for run in begun] == [recorded(run) for run in whole]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """How many clients and settings each block will have."""
    sizes: list[tuple[int, int]] = []
    whole = JointTrainer._block

    def block(self: JointTrainer, store: Any, plans: Any, seats: Any) -> Any:
        sizes.append((len(plans), len(seats)))
        return whole(self, store, plans, seats)

    monkeypatch.setattr(JointTrainer, "_block", block)
    return sizes


def test_those_behind_catch_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = counted(monkeypatch)
    runs = made(client__lr="0.1,0.2")
    listener = StopsAt(3)
    first = runs[0].replace(out=str(tmp_path / "0"))
    with pytest.raises(Interrupted):
        simulate(first, listener, listener.stop)
    both, ended = carried_out(runs, tmp_path)
    assert ended == {0: None, 1: None}
    assert sizes == [(3, 1)] * 3 + [(3, 2)] * 3
    for run in both:
        alone = run.replace(out=f"{run.out}-alone")
        simulate(alone)
        assert saved(run) == saved(alone)


def test_what_cannot_be_trained_as_one_is_trained_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def never(*given: object) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(JointTrainer, "_block", never)
    with caplog.at_level(logging.WARNING, "fedsam"):
        runs, ended = carried_out(made(client__lr="0.1,0.2"), tmp_path)
    assert ended == {0: None, 1: None}
    assert "2 settings could not be trained as one: no such kernel" in caplog.text
    alone = runs[1].replace(out=str(tmp_path / "alone"))
    simulate(alone)
    assert saved(runs[1]) == saved(alone)


def test_an_error_that_is_not_ours_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Simulation, ids: list[int], lr: float) -> None:
        raise ZeroDivisionError("in a run")

    monkeypatch.setattr(Simulation, "_record", broken)
    with pytest.raises(ZeroDivisionError, match="in a run"):
        carried_out(made(client__lr="0.1,0.2"), tmp_path)


def test_what_the_caller_raises_at_an_error_comes_out(tmp_path: Path) -> None:
    def ended(place: int, error: FedsamError | None) -> None:
        if error is not None:
            raise error

    runs = [run.replace(out=str(tmp_path / str(place))) for place, run in enumerate(made(client__lr="0.1,1e30"))]
    with pytest.raises(FedsamError, match="not finite"):
        carry_out_together(runs, ended)


def test_data_that_cannot_be_read_are_an_error_of_every_run(tmp_path: Path) -> None:
    runs = made(client__lr="0.1,0.2", data__name="imagefolder", data__root=str(tmp_path / "none"))
    _, ended = carried_out(runs, tmp_path)
    assert sorted(ended) == [0, 1]
    assert all("data" in str(error) for error in ended.values())


def test_large_models_are_trained_in_turn(tmp_path: Path) -> None:
    runs = made(client__lr="0.1,0.2", engine__name="loop", rounds=2)
    runs, ended = carried_out(runs, tmp_path)
    assert ended == {0: None, 1: None}
    assert RunDirectory.open(Path(str(runs[0].out)))[0].environment()["engine"] == "loop"


def test_blocks_of_many_settings_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsam.engine.multi_run.ROWS", 6)  # two settings of three clients
    runs = made(client__lr="0.1,0.2,0.3,0.4,0.5")
    sizes = counted(monkeypatch)
    together = advanced(runs, 1)
    assert sizes == [(3, 2), (3, 2), (3, 1)]
    alone = Simulation(runs[4])
    alone.advance()
    assert torch.equal(together[4].theta_P, alone.theta_P)


@pytest.mark.parametrize("kept", ["average", "local"])
def test_statistics_of_batch_normalisation_are_those_of_each_run(kept: str, caplog: pytest.LogCaptureFixture) -> None:
    keys = {"client__name": "sam", "client__rho": "0.05,0.3", "client__batch_size": 4, "server__batchnorm": kept}
    runs = made(engine__name="cohort", engine__precision="fp64", model__name="tests.support.normalised:net", **keys)
    runs = [run.replace(data=Ragged(), cohort=5) for run in runs]
    found = advanced(runs, 2)
    assert not caplog.records
    for run, simulation in zip(runs, found, strict=True):
        alone = Simulation(run)
        for _ in range(2):
            alone.advance()
        assert close(simulation.theta_P, alone.theta_P)


def test_settings_too_large_for_a_near_cache_are_trained_in_turn() -> None:
    runs = made(client__lr="0.1,0.2", engine__name="cohort")
    assert _joint(runs) is not None
    assert _joint(runs[:1]) is None
    cohort = runs[0].cohort
    width = L2_CACHE // (FEWEST * cohort * (64 + 10 + 1)) + 1  # so many parameters has a unit of the hidden layer
    assert _joint(made(client__lr="0.1,0.2", engine__name="cohort", model__width=width)) is None
    assert _joint(made(client__lr="0.1,0.2", engine__name="cohort", model__width=width // 2)) is not None
