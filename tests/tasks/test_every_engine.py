"""Every task on every engine with a perturbation, control variates and an average at once, and through a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedsam import Run, simulate
from fedsam.tasks.base import Task
from tests.support.discovered import found
from tests.support.every_engine import (
    AT_ONCE,
    EVERY_ENGINE,
    assert_close,
    collected,  # noqa: F401
    on,
    same_in_process,
    stopped_and_resumed,
)
from tests.support.flower_grid import inside_flower  # noqa: F401
from tests.support.stock_networks import STOCK, stock

pytestmark = EVERY_ENGINE

CASES: dict[str, dict[str, Any]] = {
    "classification": {"data.name": "tests.support.ragged:Ragged", "model.name": "mlp"},
    "classification of a table": {"data.name": "breast_cancer", "data.clients": 6},
    "regression": {"data.name": "diabetes", "data.clients": 6, "task.name": "regression", "task.delta": 1.0},
    "multilabel": {"data.name": "tests.support.labels:Signs", "data.partition": "iid", "data.clients": 6},
    "segmentation": {
        "data.name": "tests.support.scenes:Scenes",
        "data.augment": "scale_crop",
        "model.name": "unet",
        "model.width": 4,
        "task.name": "segmentation",
        "task.hardest": 0.5,
        "task.class_weights": "1,1,2,0.5",
    },
    "segmentation of unseen domains": {
        "data.name": "shapes",
        "data.size": 8,
        "data.domain_samples": 6,
        "data.domain_test_samples": 3,
        "data.clients": 12,
        "data.unseen": 2,
        "model.name": "unet",
        "model.width": 4,
        "model.depth": 1,
    },
    # the first places of an example are its prompt
    "sequence": {"data.name": "tests.support.texts:Texts", "model.name": "lstm", "model.width": 6},
    "sequence with dropout": {
        "data.name": "tests.support.texts:Texts",
        "model.name": "transformer",
        "model.width": 8,
        "model.dropout": 0.1,
        "task.name": "sequence",
        "task.extra_metrics": "token_accuracy,bits_per_character",
    },
}


def described(case: str) -> Run:
    if case in STOCK:
        return stock(case)
    local = {"client.batch_size": 4, "client.epochs": 1, "client.lr": 0.05, "cohort": 4}
    return Run.from_keys({**AT_ONCE, "client.rho": 0.3, **local, **CASES[case]})


every = pytest.mark.parametrize("case", [*CASES, *STOCK])


def test_no_task_is_forgotten() -> None:
    tasks = found(Task, auto="stands for the data set's own task")  # type: ignore[type-abstract]
    assert {case.split()[0] for case in CASES} == set(tasks)


@pytest.mark.filterwarnings("ignore")
@every
def test_a_task_is_the_same_on_every_engine_and_resumed(tmp_path: Path, case: str) -> None:
    run = described(case)
    loop = same_in_process(run, run.data.load(run.seed).clients)
    assert loop.metrics[-1]["test_loss"] != loop.metrics[0]["train_loss"]
    whole = simulate(run.replace(out=str(tmp_path / "whole")))
    assert stopped_and_resumed(run, tmp_path / "stopped", 1).digest == whole.digest
    files = [tmp_path / name / "model.safetensors" for name in ("stopped", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@every
def test_ray_trains_a_task_the_same(case: str) -> None:
    pytest.importorskip("ray")
    run = described(case)
    assert_close(on("ray", run, **{"engine.workers": 2}), on("loop", run))
