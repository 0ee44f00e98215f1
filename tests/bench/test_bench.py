"""The benchmark's frame: rows, JSON, peers, and every case at a size that is patched down."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedsam import Run, bench
from fedsam.bench import all as every
from fedsam.bench import cross_device, growth, kept, large, paper_cnn, peers, population, resnet, startup, tiny, ways
from fedsam.bench.common import alone, bounds
from fedsam.bench.common.rounds import plain
from fedsam.bench.common.work import Work
from fedsam.engine.kernels.cnn_im2col import Im2ColConvolutions
from fedsam.errors import RunError
from fedsam.optim.sgd import SGD

KEYS = {"case", "variant", "engine", "precision", "seconds_per_round", "spread", "rounds", "limit_ratio"}
KEYS |= {"versus", "hardware", "versions"}
SMALL: dict[str, Any] = {"clients": 3, "samples": 4, "cohort": 2, "batch": 2}
CNN = {"model": {"name": "cnn", "channels": 2}, "size": 16}


def patched(module: Any, monkeypatch: pytest.MonkeyPatch, **constants: Any) -> None:
    for name, value in constants.items():
        assert hasattr(module, name)
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def no_peers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A place for peers, with none in it."""
    monkeypatch.setattr(peers, "__path__", [str(tmp_path)])
    return tmp_path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every case that runs in this process, at a size of nothing."""

    def case(name: str, **constants: Any) -> None:
        patched(importlib.import_module(f"fedsam.bench.{name}"), monkeypatch, **constants)

    case("paper_cnn", WORK=replace(paper_cnn.WORK, **SMALL, **CNN))
    case("cross_device", WORKS={name: replace(work, **SMALL, size=16) for name, work in cross_device.WORKS.items()})
    case("tiny", WORK=replace(tiny.WORK, **SMALL))
    case("ways", WORKS={"paper-cnn": replace(paper_cnn.WORK, **SMALL, **CNN)})
    assert resnet.WORK.model == {"name": "resnet18"}
    other = replace(resnet.WORK, **SMALL, **CNN)
    case("resnet", WORK=other, ON_CPU=other)
    case("aggregate", PARAMETERS=1000)
    case("evaluate", IMAGES=40, WORK=Work(clients=4, cohort=2, samples=1, **CNN))
    case("checkpoint", MODELS=("mlp", "cnn"))
    case("sweep", SETTINGS=(3,))
    case("geometry", IMAGES=40, TRAINING=1, TOP=1, SIDE=2, MODEL={"name": "mlp", "width": 1})


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


CASES = {  # rows, the most important variants
    "paper-cnn": (16, {"sgd", "sam", "asam", "lookbehind k=2", "lookbehind k=2 by hand"}),
    "cross-device": (8, {"the paper's CNN: sgd", "pfl's CNN: sgd", "pfl's CNN: sgd by hand"}),
    "tiny": (4, {"1 step: sgd", "10 steps: sgd", "10 steps: sgd by hand"}),
    "ways": (6, {"paper-cnn: sgd, vmap", "paper-cnn: asam, unfold and bmm", "paper-cnn: sgd, one by one"}),
    "resnet": (4, {"sgd", "sgd by hand"}),
    "aggregate": (4, {"blocks of 1, 100 x 1,000", "copy, 100 x 1,000"}),
    "evaluate": (4, {"ours", "by hand, channels-last"}),
    "checkpoint": (8, {"save cnn, 0.8 M parameters", "load cnn, 0.8 M parameters"}),
    "sweep": (2, {"3 settings as one", "3 settings in turn"}),
    "geometry": (6, {"one HVP", "eigenvalues", "surface"}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("small", "no_peers")
def test_a_case_measures_its_variants(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    bench.measure(case, 1, True)
    rows = lines(capsys)
    count, variants = CASES[case]
    assert len(rows) == count
    assert variants <= {row["variant"] for row in rows}
    for row in rows:
        assert set(row) == KEYS
        assert row["case"] == case
        assert row["rounds"] == 1
        assert row["seconds_per_round"] > 0
        assert row["limit_ratio"] > 0
        assert row["versus"] == {}
    assert any(row["limit_ratio"] == 1 for row in rows)


def test_only_one_way_unfolds() -> None:
    found = {name: way.simulation(Work(**SMALL, **CNN), SGD(), "fp32", False) for name, way in ways.WAYS.items()}
    unfolded = [
        name for name, simulation in found.items() if isinstance(simulation.context.kernels[0], Im2ColConvolutions)
    ]
    assert unfolded == ["unfold and bmm"]
    assert [simulation.engine.name for simulation in found.values()] == ["loop", "cohort", "cohort"]


def test_cases_are_listed_and_nothing_else_is() -> None:
    apart = {"kept", "growth", "population", "startup", "overhead", "partition", "engines", "large", "tasks", "jobs"}
    assert set(CASES) | apart == set(bench.names())


@pytest.mark.usefixtures("small")
def test_versus_has_each_installed_peer_and_names_an_absent_one(
    no_peers: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "bf16" in paper_cnn.PRECISIONS
    monkeypatch.setattr(paper_cnn, "methods", plain)
    noted = no_peers / "closed"
    sleeps = "import time\nfrom pathlib import Path\nPACKAGE = 'pytest'\nclass Peer:\n"
    sleeps += "    def __init__(self, work): self.cohort = work.cohort\n"
    sleeps += f"    def round(self): time.sleep(0.1 * self.cohort); assert not Path({str(noted)!r}).exists()\n"
    sleeps += f"    def close(self): Path({str(noted)!r}).touch()\n"
    (no_peers / "sleeper.py").write_text(sleeps)
    later = "from pathlib import Path\nPACKAGE = 'pytest'\nclass Peer:\n"
    later += f"    def __init__(self, work): self.before = Path({str(noted)!r})\n"
    later += "    def round(self): assert self.before.exists()\n    def close(self): pass\n"
    (no_peers / "waits.py").write_text(later)
    absent = "PACKAGE, INSTALL = 'nowhere', 'pip install nowhere'\nclass Peer:\n"
    absent += "    def __init__(self, work): import nowhere_to_be_found\n"
    (no_peers / "absent.py").write_text(absent)

    bench.measure("tiny", 1, True)
    assert all(row["versus"] == {} for row in lines(capsys))
    assert not noted.exists()

    bench.measure("paper-cnn", 1, True, versus=True)
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert noted.exists()
    assert err.splitlines() == [
        "without absent: No module named 'nowhere_to_be_found'; install it with: pip install nowhere"
    ]
    (against,) = (row for row in rows if row["versus"])
    assert (against["variant"], against["precision"]) == ("sgd, no augmentation", "fp32")
    assert all(row["versions"]["pytest"] == pytest.__version__ for row in rows)
    assert all("nowhere" not in row["versions"] for row in rows)
    (peer,) = (row for row in rows if row["engine"] == "sleeper")
    assert peer["seconds_per_round"] >= 0.2
    (own,) = (row for row in rows if row["variant"] == "sgd, no augmentation, in turn with sleeper")
    assert own["engine"] == against["engine"]
    times = peer["seconds_per_round"] / own["seconds_per_round"]
    assert against["versus"] == {"sleeper": pytest.approx(times), "waits": against["versus"]["waits"]}


def test_the_table_shows_a_peer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(name: str, rounds: int, versus: bool) -> Iterator[bench.Row]:
        yield bench.Row("sgd", "loop", "fp32", [2.0, 1.0, 4.0], 1.25, "a note", {"pfl": 1.94})

    monkeypatch.setattr(bench, "rows_of", rows)
    bench.measure("anything", 3, False)
    table = capsys.readouterr().out
    for part in ("anything: median of 3 rounds", "versus", "2.00000", "0.75000", "1.250", "pfl 1.9 x", "a note"):
        assert part in table


def test_images_are_measured_in_memory_decoded_and_from_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[str] = []

    def measured(folder: str, keys: dict[str, float], rounds: int) -> dict[str, Any]:
        folders.append(folder)
        assert sorted(path.suffix for path in Path(folder).iterdir()) == [".csv", *[".jpg"] * 6]
        lazy = None if keys["memory"] else 6
        return {"seconds": [2.0] * rounds, "waited": 1.0, "images": lazy, "peak": 2**20, "engine": "loop"}

    patched(large, monkeypatch, USERS=3, IMAGES=2, COHORT=2, measured=measured)
    notes = [row.note for row in large.rows(2)]
    first, *others = notes
    assert first == "2 images/s enter a round, 1 MiB"
    assert others == ["2 images/s enter a round, 25% of a round waits, 1 MiB"] * 2
    assert len(folders) == 4  # once more, so that the disk has them
    assert not Path(folders[0]).exists()


def test_a_round_of_images_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    patched(large, monkeypatch, USERS=3, IMAGES=2, COHORT=2, SIZE=16, HEIGHT=32, WIDTH=32)
    large.write(tmp_path)
    large.report(str(tmp_path), json.dumps({"memory": 0.0, "disk": 0.0}), "1")
    found = json.loads(capsys.readouterr().out)
    assert len(found["seconds"]) == 1
    assert 0 <= found["waited"] <= found["seconds"][0]
    assert found["images"] >= 4


def test_a_population_is_measured_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    patched(population, monkeypatch, CLIENTS=(20,), COHORT=2)
    (row,) = population.rows(1)
    memory = float(row.variant.removeprefix("2 of 20 clients, ").removesuffix(" MiB"))
    assert 50 < memory < 5000
    assert (row.limit_ratio, len(row.seconds), row.engine) == (1.0, 1, "cohort")
    monkeypatch.setattr(alone, "CODE", "raise SystemExit('it broke')")
    with pytest.raises(RunError, match=r"data\.clients=20 cohort=2 failed: it broke"):
        next(population.rows(1))


def test_what_clients_keep_is_measured_in_both_places(monkeypatch: pytest.MonkeyPatch) -> None:
    models = {"little": kept.MODELS["a perceptron"] | {"data.size": 8, "model.width": 4}}
    patched(kept, monkeypatch, KEYS=kept.KEYS | {"data.clients": 20, "cohort": 2}, MODELS=models)
    near, far = kept.rows(1)
    assert near.variant.startswith("little, 0.0 M, in memory, ")
    assert far.variant.startswith("little, 0.0 M, in a file, ")
    assert (near.limit_ratio, far.limit_ratio) == (1.0, far.seconds[0] / near.seconds[0])


def test_startup_waits_for_the_first_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(
        "import sys, time\nfrom pathlib import Path\n"
        "out = Path(sys.argv[-1].removeprefix('out='))\n"
        "if sys.argv[1] == 'run':\n"
        "    out.mkdir()\n    (out / 'metrics.jsonl').touch()\n    time.sleep(0.2)\n"
        "    (out / 'metrics.jsonl').write_text('{}')\n    time.sleep(0.3)\n"
    )
    python = startup.PYTHON[0]
    patched(startup, monkeypatch, FEDSAM=(python, str(tmp_path / "late.py")), TORCH=startup.PYTHON)
    rows = {row.variant: row for row in startup.rows(1)}
    assert set(rows) == {"python", "import torch", "fedsam --help", "fedsam run, first round recorded"}
    assert rows["fedsam run, first round recorded"].seconds[0] > 0.2
    began = time.perf_counter()
    first = startup.first_round()
    assert first < time.perf_counter() - began - 0.25
    (tmp_path / "stock.py").write_text(
        "import sys, pathlib\nassert sys.argv[1] == '20'\npathlib.Path(sys.argv[2]).touch()"
    )
    patched(startup, monkeypatch, QUICKSTART=(python, str(tmp_path / "stock.py")), find_spec=lambda name: name)
    rows = {row.variant: row for row in startup.rows(1, versus=True)}
    ours, theirs = rows[startup.FLOWER], rows[startup.STOCK]
    assert (ours.limit_ratio, theirs.limit_ratio) == (ours.seconds[0] / theirs.seconds[0], 1.0)
    (tmp_path / "late.py").write_text("raise SystemExit('no')")
    with pytest.raises(RunError, match="recorded nothing within"):
        startup.first_round()
    with pytest.raises(RunError, match=r"--help failed: no"):
        startup.finished((*startup.FEDSAM, "--help"))


def test_all_goes_on_after_a_failure_and_stops_when_time_is_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(name: str, rounds: int, versus: bool) -> Iterator[bench.Row]:
        yield bench.Row(name, "loop", "fp32", [1.0] * rounds, None)
        if name == "tiny":
            raise RuntimeError("out of luck")

    monkeypatch.setattr(every, "rows_of", rows)
    out = tmp_path / "out.jsonl"
    assert every.main([str(out)]) == 1
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["case"] for line in found if "error" not in line] == list(every.CASES)
    assert [line for line in found if "error" in line] == [{"case": "tiny", "error": "RuntimeError: out of luck"}]
    assert all(set(line) == KEYS for line in found if "error" not in line)
    assert set(every.CASES) <= set(bench.names())
    monkeypatch.setattr(every, "CASES", ("tiny", "resnet")[1:])
    assert every.main([str(out), "--rounds", "2"]) == 0
    last = json.loads(out.read_text().splitlines()[-1])
    assert (last["case"], last["rounds"]) == ("resnet", 2)
    lines_before = out.read_text()
    assert every.main([str(out), "--minutes", "-1"]) == 0
    assert out.read_text() == lines_before
    assert "resnet and what follows is left out" in capsys.readouterr().err


def test_bounds_count_what_a_round_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    work = Work(model={"name": "mlp", "width": 7}, clients=4, samples=6, cohort=2, batch=3, size=2, channels=1)
    cpu = torch.device("cpu")
    patched(bounds, monkeypatch, rate=lambda *_: 2.0, bandwidth=lambda *_: 4.0)
    found = bounds.bounds(work, 2, "fp32", cpu)
    # 2 clients of 2 batches of 3; forward, and backward for the weights of both layers and the inputs of the second
    forward = 2 * 3 * (4 * 7 + 7 * 10)
    assert found["arithmetic"] == 2 * 2 * 2 * (2 * forward + 2 * 3 * 7 * 10) / 2.0
    outputs, weights = 3 * (7 + 7 + 10), 4 * 7 + 7 + 7 * 10 + 10
    assert found["memory"] == 2 * 2 * (2 * 4 * 2 * outputs + 2 * 4 * weights) / 4.0
    narrow = bounds.bounds(work, 2, "bf16", cpu)
    assert narrow["memory"] == 2 * 2 * (2 * 2 * 2 * outputs + 2 * 4 * weights) / 4.0
    monkeypatch.undo()
    assert bounds.rate(cpu, "fp32", 64) > 0
    assert bounds.bandwidth(cpu, 1000) > 0


def test_growth_is_over_the_line_that_it_should_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {5: 2.0, 10: 3.0, 20: 8.0}

    def alone(keys: dict[str, Any], rounds: int) -> dict[str, Any]:
        return {"seconds": [seconds[keys["n"]]] * rounds, "engine": "loop", "peak": 2**20}

    points = {number: {"n": number} for number in seconds}
    curves = [growth.Curve(name, points, power) for name, power in (("up", 1), ("flat", 0), ("down", -1))]
    patched(growth, monkeypatch, CURVES=curves, alone=alone)
    patched(growth.sweep, monkeypatch, SETTINGS=(2,))
    found = {row.variant: row.limit_ratio for row in growth.rows(1)}
    assert list(found)[:2] == ["up: 5, 1 MiB", "up: 10, 1 MiB"]
    assert list(found.values())[:9] == [1.0, 0.75, 1.0, 1.0, 1.5, 4.0, 1.0, 3.0, 16.0]
    assert list(found)[9:] == ["2 settings as one"]


@pytest.mark.parametrize("curve", growth.CURVES, ids=lambda curve: curve.name)
def test_the_runs_of_a_curve_can_be(curve: growth.Curve) -> None:
    for number, keys in curve.points.items():
        run = Run.from_keys(keys)
        if curve.name == "parameters":
            assert run.model.width * 75 + 10 == number
