"""Measures of a run after training that the FedSAM paper needs, on one tiny run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fedsam import Run
from fedsam.data.images.corruptions import CORRUPTIONS
from fedsam.federated.simulate import simulate
from fedsam.flatness.directions import random_direction
from fedsam.flatness.loaded_run import LoadedRun
from fedsam.flatness.spectrum import dense
from fedsam.reproduce.corrupted import CorruptedAccuracy, mean_accuracy
from fedsam.reproduce.figures import as_csv, save
from fedsam.reproduce.flatness import Contours, Eigenvalues, Surface, rise
from fedsam.rng import stream

SURFACE = Surface(images=60, points=3, half_width=0.5)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    out = tmp_path_factory.mktemp("flatness") / "run"
    keys = {"data.clients": 1, "cohort": 1, "data.partition": "iid", "rounds": 3, "client.epochs": 2}
    simulate(Run.from_keys(keys | {"model.width": 4, "engine.threads": 1, "out": str(out)}))
    return LoadedRun(out)


def test_eigenvalues_are_those_of_the_whole_matrix(loaded: LoadedRun) -> None:
    hessian_PP = dense(loaded.landscape(60, loaded.served), loaded.served.theta_P)
    expected = torch.linalg.eigvalsh(hessian_PP.double())[-5:].flip(0)
    assert Eigenvalues(images=60, tolerance=1e-6).of(loaded, []) == pytest.approx(expected.tolist(), rel=1e-3)


def test_a_surface_is_the_loss_around_the_model(loaded: LoadedRun) -> None:
    found = SURFACE.of(loaded, [])
    landscape, theta_P = loaded.landscape(60, loaded.served), loaded.served.theta_P
    first_P, second_P = (random_direction(loaded.context.layout, theta_P, loaded.run.seed, n) for n in range(2))
    assert found["x"] == found["y"] == [-0.5, 0.0, 0.5]
    assert found["loss"][1][1] == pytest.approx(landscape.loss(theta_P))
    assert found["loss"][2][0] == pytest.approx(landscape.loss(theta_P - 0.5 * first_P + 0.5 * second_P), rel=1e-5)


def test_the_rise_is_from_the_middle() -> None:
    assert rise({"loss": [[4.0, 5.0, 6.0], [5.0, 1.0, 5.0], [6.0, 5.0, 8.0]]}) == pytest.approx(4.0)


def test_accuracy_on_corrupted_images(loaded: LoadedRun) -> None:
    found = CorruptedAccuracy(images=50).of(loaded, [])
    assert list(found) == ["noise", "blur", "contrast", "brightness", "pixelate", "jpeg"]
    assert [len(values) for values in found.values()] == [5] * 6
    test, spec = loaded.federation.test, loaded.federation.spec
    module = loaded.context.module
    module.load_state_dict(loaded.context.layout.views(loaded.served.theta_P))
    for name, severity in (("contrast", 5), ("noise", 2)):
        rng = stream(0, f"corruption {name}", round=severity)
        images = CORRUPTIONS[name](test.inputs[:50] / spec.scale, severity, rng)
        inputs = torch.from_numpy((images - spec.mean) / spec.std).permute(0, 3, 1, 2).float()
        right = module(inputs).argmax(dim=1).numpy() == test.targets[:50]
        assert found[name][severity - 1] == pytest.approx(right.mean(), abs=1e-9)
    assert mean_accuracy(found) == pytest.approx(np.mean([x for values in found.values() for x in values]))
    assert mean_accuracy({"a": [0.0, 0.5], "b": [1.0, 0.5]}) == 0.5


def test_contours_are_drawn_and_written(tmp_path: Path) -> None:
    surfaces = [{"x": [-1.0, 0.0, 1.0], "y": [-1.0, 1.0], "loss": [[1.0, 2.0, 3.0], [4.0, 5.0, n]]} for n in (6.0, 8.0)]
    panel = Contours.of("mine", surfaces, most=9.0)
    save([panel, Contours.of("other", surfaces)], tmp_path / "map")
    assert (tmp_path / "map.png").stat().st_size > 1000
    rows = [line.split(",") for line in as_csv([panel]).splitlines()[1:]]
    assert len(rows) == 2 * 2 * 3
    last = [row for row in rows if row[-2] == "1.0" and "y = 1" in ",".join(row)]
    assert [float(row[-1]) for row in last] == [6.0, 8.0]


def test_every_severity_has_random_numbers_of_its_own(loaded: LoadedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    def spy(images: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
        drawn.append(rng.random())
        return images

    for name in CORRUPTIONS:
        monkeypatch.setitem(CORRUPTIONS, name, spy)
    for _ in range(2):
        CorruptedAccuracy(images=5).of(loaded, [])
    assert drawn[:30] == drawn[30:]
    assert len(set(drawn)) == 30
