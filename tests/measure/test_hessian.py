"""What is measured in the course of a run, and the figure made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from experiments import flatness
from fedsam import InputError, Run, resume, simulate
from fedsam.errors import Interrupted
from fedsam.federated.round_loop import Simulation
from fedsam.flatness.landscape import examples_of
from fedsam.params import Weights
from tests.support.interrupted import StopAt, outcome
from tests.support.ragged import Ragged


def described(**changes: Any) -> Run:
    keys = {"data": Ragged(), "model.width": 4, "cohort": 4, "rounds": 5, "evaluate_every": 5, "engine.threads": 1}
    keys |= {"geometry.every": 2, "geometry.images": 30, "geometry.top": 3, "engine.precision": "fp64"}
    return Run.from_keys({**keys, **changes})


def dense(simulation: Simulation, theta_P: Tensor, images: int) -> Tensor:
    """The Hessian of the global loss, by torch's own."""
    split = examples_of(simulation.federation, simulation.run.seed, images)
    inputs = simulation.context.prepare(torch.from_numpy(split.inputs))

    def loss(point_P: Tensor) -> Tensor:
        return F.cross_entropy(simulation.context.outputs(Weights(point_P), inputs), torch.from_numpy(split.targets))

    found: Tensor = torch.autograd.functional.hessian(loss, theta_P)  # type: ignore[no-untyped-call]
    return found


def test_rounds_with_a_measurement_are_recorded_with_it() -> None:
    result, plain = simulate(described()), simulate(described(**{"geometry.every": 0}))
    assert [record["round"] for record in result.metrics] == [2, 4, 5]
    assert [record["round"] for record in plain.metrics] == [5]
    assert "geometry" not in plain.metrics[0]
    assert result.digest == plain.digest
    assert all(len(record["geometry"]["eigenvalues"]) == 3 for record in result.metrics)
    assert "seconds" not in result.metrics[0]["geometry"]


@pytest.mark.parametrize("average", [{}, {"average.name": "ema", "average.decay": 0.5}])
def test_eigenvalues_are_those_of_the_served_models_hessian(average: dict[str, Any]) -> None:
    run = described(**average)
    simulation = Simulation(run)
    for _ in range(2):
        simulation.advance()
    served_P = run.average.served(simulation.theta_P, simulation.average)
    expected = torch.linalg.eigvalsh(dense(simulation, served_P, 30)).flip(0)
    found = simulate(run).metrics[0]["geometry"]
    assert found["eigenvalues"] == pytest.approx(expected[:3].tolist(), rel=found["tolerance"])
    assert found["images"] == 30


def test_the_trace_is_estimated_if_asked_for() -> None:
    run = described(rounds=2, **{"geometry.trace_vectors": 60})
    simulation = Simulation(run)
    simulation.advance()
    simulation.advance()
    expected = float(dense(simulation, simulation.theta_P, 30).trace())
    found = simulate(run).metrics[0]["geometry"]
    assert abs(found["trace"] - expected) <= 4 * found["trace_error"] + 1e-9
    assert found["trace_error"] < 0.5 * expected
    assert simulate(described(rounds=2)).metrics[0]["geometry"]["trace"] is None


def test_a_resumed_run_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    changes = {"checkpoint_every": 1, "geometry.trace_vectors": 5}
    simulate(described(out=str(whole), **changes))
    listener = StopAt(3)
    with pytest.raises(Interrupted):
        simulate(described(out=str(stopped), **changes), listener, listener.stop)
    resume(stopped)
    assert outcome(whole) == outcome(stopped)


def test_what_is_written_beside_the_records(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = Run.from_keys({"rounds": 2, "data.local_test": 0.25, "data.alpha": 0.1, "out": str(out)})
    simulate(run)
    federation = run.data.load(run.seed)
    division, local = (json.loads((out / name).read_text()) for name in ("partition.json", "clients.json"))
    assert (division["clients"], division["shown"], division["classes"]) == (50, 50, 10)
    assert division["label_counts"] == federation.label_counts(range(50)).tolist()
    assert division["examples"] == federation.sizes(range(50)).tolist()
    assert set(division["measures"]) == {"js_mean", "js_std", "emd_mean", "emd_std", "classes_mean", "gini"}
    simulation = Simulation(run.replace(out=None))
    simulation.advance()
    simulation.advance()
    store, index = federation.local_test(range(50))
    inputs = simulation.context.prepare(torch.from_numpy(store.inputs[index[7]]))
    right = simulation.context.outputs(Weights(simulation.theta_P), inputs).argmax(1) == torch.from_numpy(
        store.targets[index[7]]
    )
    assert local["accuracy"][7] == float(right.double().mean())
    assert local["examples"] == [len(own) for own in index]
    without = tmp_path / "without"
    simulate(Run.from_keys({"rounds": 1, "out": str(without)}))
    assert not (without / "clients.json").exists()


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputError, match=r"geometry\.top = 0: must be at least 1"):
        described(**{"geometry.top": 0})
    with pytest.raises(InputError, match=r"geometry\.name = hesian: no such probe; did you mean 'hessian'\?"):
        described(**{"geometry.name": "hesian"})


def test_the_figure_of_flatness_against_heterogeneity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(flatness, "ALPHAS", (0.0, 100.0))
    monkeypatch.setattr(flatness, "IMAGES", 100)
    comparison = flatness.main(tmp_path / "out", seeds=2, rounds=3)
    found = flatness.measured(comparison, "FedAvg", "eigenvalues")
    assert found.shape == (2, 2)
    last = comparison.metrics["FedAvg, alpha 100"][1][-1]["geometry"]
    assert found[1, 1] == last["eigenvalues"][0]
    assert (tmp_path / "out" / "flatness.png").stat().st_size > 10_000
    assert f"λ1 {found[0].mean():7.2f}" in capsys.readouterr().out
