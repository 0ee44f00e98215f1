"""The study of a run directory: what it reads, what it writes, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from fedsam import InputError, Run, simulate
from fedsam.errors import Interrupted
from fedsam.federated.round_loop import Simulation
from fedsam.flatness.directions import random_direction
from fedsam.flatness.loaded_run import LoadedRun
from fedsam.flatness.sharpness import worst_in_ball
from fedsam.flatness.spectrum import dense
from fedsam.flatness.study import Settings, study
from fedsam.optim.asam import ASAM
from fedsam.optim.sam import SAM
from fedsam.runs.directory import RunDirectory
from fedsam.runs.result import Listener
from tests.oracles.flatness import DATA

QUICK = Settings(
    images=30,
    clients=3,
    density_steps=8,
    density_probes=2,
    sam_radii=(0.1,),
    asam_radii=(0.5,),
    ascent_steps=2,
    sigmas=(0.05,),
    draws=3,
    surface=5,
    plane=3,
    line=25,
    m=16,
    tolerance=1e-9,
)
BARE = Settings(
    images=10, density=False, clients=0, sam_radii=(), asam_radii=(), sigmas=(), surface=0, line=0, trace_vectors=0
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def described(out: Path, **keys: Any) -> Run:
    common = {"data": DATA, "engine.precision": "fp64", "engine.device": "cpu", "client.epochs": 1, "cohort": 4}
    model = {} if "model.name" in keys else {"model.width": 5}
    return Run.from_keys({**common, **model, "rounds": 4, "checkpoint_every": 1, "out": str(out), **keys})


def stopped(out: Path, at: int, **keys: Any) -> Path:
    """The directory of a run that was stopped after so many rounds."""
    stop = threading.Event()

    class StopAt(Listener):
        def round(self, done: int) -> None:
            if done == at:
                stop.set()

    with pytest.raises(Interrupted):
        simulate(described(out, **keys), StopAt(), stop)
    return out


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an average over rounds."""
    out = tmp_path_factory.mktemp("runs") / "run"
    average = {"average.name": "swa", "average.cycle": 2, "average.start": 0.25}
    simulate(described(out, **{"client.name": "sam", "client.lr": 0.3, "client.schedule": "cosine", **average}))
    return out


@pytest.fixture(scope="module")
def studied(finished: Path) -> tuple[dict[str, Any], list[str], dict[str, bytes]]:
    before, told = contents(finished), list[str]()
    return study(finished, QUICK, told.append), told, before


def test_all_is_written_and_nothing_else_is_touched(finished: Path, studied: Any) -> None:
    found, told, before = studied
    after = contents(finished)
    assert json.loads(after.pop("geometry.json")) == found
    assert after == before
    parts = ["global", "clients", "sharpness", "noise", "flatness", "surface", "plane", "line"]
    assert told == list(found["seconds"]) == parts
    assert set(found) == {"format", "digest", "round", "images", "parameters", "settings", "seconds", *parts}
    assert (found["format"], found["round"], found["images"]) == (1, 4, 30)
    assert found["digest"] == RunDirectory.open(finished)[1].digest()
    assert found["settings"]["sam_radii"] == [0.1]


def test_it_is_measured_on_the_served_model(finished: Path, studied: Any) -> None:
    found, loaded = studied[0], LoadedRun(finished)
    state = safetensors.torch.load((finished / "model.safetensors").read_bytes())
    theta_P = loaded.context.layout.flatten(state)
    landscape = loaded.landscape(30, loaded.served)
    assert torch.equal(theta_P, loaded.served.theta_P)
    assert not torch.equal(theta_P, loaded.raw.theta_P)
    whole = found["global"]
    assert found["parameters"] == len(theta_P)
    assert (whole["loss"], whole["accuracy"]) == (
        pytest.approx(landscape.loss(theta_P), rel=1e-12),
        landscape.loss_and_value(theta_P)[1],
    )
    values = torch.linalg.eigvalsh(dense(landscape, theta_P)).flip(0)[:5].tolist()
    assert whole["eigenvalues"] == pytest.approx(values, rel=1e-6)
    assert len(whole["density"]["grid"]) == len(whole["density"]["density"])
    for row in found["clients"]:
        own = loaded.landscape(30, loaded.served, [row["client"]])
        values = torch.linalg.eigvalsh(dense(own, theta_P)).flip(0)[:5].tolist()
        assert row["eigenvalues"] == pytest.approx(values, rel=1e-6)
        assert (row["examples"], row["loss"]) == (11, pytest.approx(own.loss(theta_P), rel=1e-12))
    assert len({row["client"] for row in found["clients"]}) == 3
    sharp = [worst_in_ball(landscape, theta_P, *ball, 2) for ball in ((SAM(), 0.1), (ASAM(), 0.5))]
    assert [row["ball"] for row in found["sharpness"]] == ["sam", "asam"]
    assert [row["sharpness"] for row in found["sharpness"]] == pytest.approx([w.sharpness for w in sharp], rel=1e-9)
    assert all(row["m_sharpness"] > row["sharpness"] for row in found["sharpness"])
    assert [(row["kind"], row["sigma"], row["draws"]) for row in found["noise"]] == [
        ("absolute", 0.05, 3),
        ("relative", 0.05, 3),
    ]
    assert found["noise"][0]["loss"] != found["noise"][1]["loss"]


def test_its_surfaces_and_lines_go_through_the_models(finished: Path, studied: Any) -> None:
    found, loaded = studied[0], LoadedRun(finished)
    landscape, theta_P = loaded.landscape(30, loaded.served), loaded.served.theta_P
    surface = found["surface"]
    right_P, up_P = (random_direction(loaded.context.layout, theta_P, surface["seed"], number) for number in (0, 1))
    assert surface["loss"][2][2] == pytest.approx(found["global"]["loss"], rel=1e-12)
    assert surface["loss"][1][4] == pytest.approx(landscape.loss(theta_P + right_P - 0.5 * up_P), rel=1e-9)
    line = found["line"]
    assert (line["from"], line["to"], line["t"][4], line["t"][20]) == ("raw", "average", 0.0, 1.0)
    assert line["loss"][4] == pytest.approx(landscape.loss(loaded.raw.theta_P), rel=1e-12)
    assert line["loss"][20] == pytest.approx(found["global"]["loss"], rel=1e-12)
    points, clients = found["plane"]["points"], [row["client"] for row in found["clients"]]
    assert [point["name"] for point in points] == ["global", f"client {clients[0]}", f"client {clients[1]}"]
    models = [loaded.raw, *loaded.trained(clients[:2])]
    assert [point["loss"] for point in points] == pytest.approx([landscape.loss(m.theta_P) for m in models], rel=1e-12)
    distances = [row["distance"] for row in found["flatness"]["clients"]]
    assert points[1]["x"] == pytest.approx(distances[0], rel=1e-9)
    assert (points[2]["x"] ** 2 + points[2]["y"] ** 2) ** 0.5 == pytest.approx(distances[1], rel=1e-9)
    assert found["flatness"]["mean_distance"] == pytest.approx(sum(distances) / 3, rel=1e-12)
    assert min(distances) > 1e-3
    # the cosine stays at the last of 4 rounds, the cycle of two rounds begins anew
    assert found["flatness"]["lr"] == pytest.approx((0.3 * (1 + math.cos(0.75 * math.pi)) / 2 + 1e-4) / 2, rel=1e-9)


def test_the_same_again_but_for_the_time(finished: Path, studied: Any, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    (copy / "geometry.json").unlink()
    generator = torch.get_rng_state()
    again = study(copy, QUICK)
    assert {name: part for name, part in again.items() if name != "seconds"} == {
        name: part for name, part in studied[0].items() if name != "seconds"
    }
    assert torch.equal(torch.get_rng_state(), generator)


def test_parts_that_are_not_asked_for_are_left_out(finished: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    found = study(copy, BARE)
    assert set(found) == {"format", "digest", "round", "images", "parameters", "settings", "seconds", "global"}
    assert "density" not in found["global"]
    assert found["global"]["trace"] is None
    assert found["images"] == 10


@pytest.mark.parametrize(
    "keys",
    [
        {"client.name": "asam", "client.momentum": 0.5},
        {"server.name": "scaffold", "average.name": "ema"},
        {"model.name": "resnet20", "model.norm": "batch"},
        {"model.name": "resnet20", "model.norm": "batch", "server.batchnorm": "local"},
    ],
    ids=["asam", "scaffold", "batchnorm", "local batchnorm"],
)
def test_the_clients_next_round_is_the_runs_own(tmp_path: Path, keys: dict[str, str]) -> None:
    out = stopped(tmp_path / "run", 2, **keys)
    kept = contents(out)
    loaded = LoadedRun(out)
    found = loaded.trained(range(4))
    assert contents(out) == kept
    simulation = Simulation(described(out, **keys))
    for _ in range(2):
        simulation.advance()
    before_P = simulation.theta_P
    assert torch.equal(loaded.raw.theta_P, before_P)
    assert loaded.round == 2
    assert torch.equal(loaded.served.theta_P, before_P) is ("average.name" not in keys)
    simulation.advance()
    mean_P = torch.stack([model.theta_P for model in found]).mean(dim=0)  # all have as many examples
    assert float((mean_P - simulation.theta_P).norm()) < 1e-9 * float((simulation.theta_P - before_P).norm())
    norms = loaded.context.batchnorms
    assert [len(model.statistics) for model in found] == [norms is not None] * 4
    if norms is not None and simulation.statistics.averaged:
        mean_S = norms.whole(torch.stack([model.statistics[0] for model in found]).mean(dim=0))
        assert torch.allclose(mean_S, simulation.statistics.now_S, rtol=1e-9, atol=1e-12)
        assert not torch.allclose(mean_S, loaded.raw.statistics[0], rtol=1e-3)
    elif norms is not None:
        kept_KS = simulation.client_state.rows(range(4))["batchnorm"] + norms.initial(before_P)
        assert torch.allclose(torch.stack([m.statistics[0] for m in found]), kept_KS, rtol=1e-9, atol=1e-12)


def test_clients_without_examples_are_left_out(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = LoadedRun(finished)
    sizes = loaded.federation.sizes
    assert loaded.clients(9) == [0, 1, 2, 3]
    assert len(loaded.clients(2)) == 2
    monkeypatch.setattr(loaded.federation, "sizes", lambda ids: np.where(np.array(ids) == 2, 0, sizes(ids)))
    assert loaded.clients(9) == [0, 1, 3]


def test_a_run_that_is_not_finished_is_studied_at_its_checkpoint(tmp_path: Path) -> None:
    out = stopped(tmp_path / "run", 3)
    found = study(out, Settings(**{**vars(BARE), "line": 5, "clients": 1, "flatness": True, "plane": 3}))
    assert found["round"] == 3
    assert "line" not in found  # there is no average
    assert "plane" not in found  # which needs two clients
    assert len(found["flatness"]["clients"]) == 1


def test_without_a_checkpoint_only_the_served_model_is_looked_at(finished: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    shutil.rmtree(copy / "checkpoint")
    found = study(copy, Settings(**{**vars(BARE), "clients": 2, "line": 5, "surface": 3}))
    assert set(found["seconds"]) == {"global", "clients", "surface"}
    assert found["round"] == 4


def empty(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def no_model(path: Path) -> None:
    shutil.rmtree(path / "checkpoint")
    (path / "model.safetensors").unlink()


def other_format(path: Path) -> None:
    (path / "run.json").write_text(json.dumps({**json.loads((path / "run.json").read_text()), "format": 99}))


def cut(path: Path, pattern: str) -> None:
    file = next(path.glob(pattern))
    file.write_bytes(file.read_bytes()[:-5])


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (shutil.rmtree, "is not a run directory"),
    "empty": (empty, "is not a run directory"),
    "half-written": (lambda path: cut(path, "run.json"), "cannot be read"),
    "version": (other_format, "has format 99"),
    "not begun": (no_model, "holds neither a model nor a checkpoint"),
    "checkpoint": (lambda path: cut(path, "checkpoint/*.safetensors"), "is damaged"),
    "other model": (
        lambda path: (path / "model.safetensors").write_bytes(safetensors.torch.save({})),
        "is not this run's model",
    ),
    "cut model": (lambda path: cut(path, "model.safetensors"), "is not this run's model"),
}


@pytest.mark.parametrize("how", list(SPOILT))
def test_directories_that_cannot_be_studied(finished: Path, tmp_path: Path, how: str) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy", ignore=shutil.ignore_patterns("geometry.json")))
    spoil, expected = SPOILT[how]
    spoil(copy)
    with pytest.raises(InputError, match=expected) as raised:
        study(copy, BARE)
    assert "\n" not in str(raised.value)
    assert not (copy / "geometry.json").exists()


def test_losses_that_are_not_finite_are_null(finished: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    found = study(copy, Settings(**{**vars(BARE), "surface": 3, "half_width": 1e200}))
    assert found["surface"]["loss"][0][0] is None
    assert found["surface"]["loss"][1][1] > 0
    assert json.loads((copy / "geometry.json").read_text()) == found


@pytest.mark.parametrize(
    ("field", "value"),
    [("images", 0), ("top", 0), ("m", 0), ("sigmas", (0.1, -0.1)), ("half_width", 0.0), ("tolerance", float("nan"))],
)
def test_impossible_settings(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=field):
        Settings(**{field: value})


def test_the_line_to_another_run_ends_at_its_model_on_this_runs_examples(finished: Path, tmp_path: Path) -> None:
    other, settings = tmp_path / "other", dataclasses.replace(BARE, line=25)
    simulate(described(other, seed=5))
    found = study(finished, settings, to=other)
    assert list(found) == [*(name for name in found if name not in ("line", "to", "seconds")), "line", "to", "seconds"]
    line, here, there = found["to"], LoadedRun(finished), LoadedRun(other)
    assert (line["from"], line["to"]) == ("this run", str(other))
    landscape = here.landscape(10, here.served)
    ends = {t: loss for t, loss in zip(line["t"], line["loss"], strict=True) if t in (0.0, 1.0)}
    assert ends[0.0] == pytest.approx(found["global"]["loss"], rel=1e-12)
    assert ends[1.0] == pytest.approx(landscape.loss(there.served.theta_P), rel=1e-12)
    assert abs(ends[0.0] - ends[1.0]) > 1e-3
    wide = tmp_path / "wide"
    simulate(described(wide, **{"model.width": 9}))
    with pytest.raises(InputError, match=r"to = .*wide: its model is not that of mlp here, so no line joins them"):
        study(finished, settings, to=wide)
