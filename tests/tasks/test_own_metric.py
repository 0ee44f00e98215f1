"""Metrics of a user's own: functions, classes and objects, by name and as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import cloudpickle
import numpy as np
import pytest
import torch
from torch import Tensor

from fedsam import InputError, Run, simulate
from fedsam.measure.score import Score
from fedsam.tasks.metric import Metric

QUICK: dict[str, Any] = {"rounds": 2, "cohort": 2}


def certainty(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.softmax(dim=1).amax(dim=1)


def wrong(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(dim=1) != targets).double()


wrong.better = "lower"  # type: ignore[attr-defined]
wrong.unit = "share"  # type: ignore[attr-defined]


class Largest(Metric):
    name: ClassVar[str] = "largest"
    better: ClassVar[Literal["higher", "lower"]] = "lower"

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.abs().amax(dim=1, keepdim=True).double()

    def joined(self, one: Tensor, other: Tensor) -> Tensor:
        return torch.maximum(one, other)

    def reduced(self, terms_NS: Tensor) -> Tensor:
        return terms_NS.amax(dim=0)

    def value(self, total_S: np.ndarray) -> float:
        return float(total_S[0])


def test_a_function_by_name_and_as_an_object() -> None:
    last = simulate(Run(metrics=[wrong, certainty, Largest], **QUICK)).metrics[-1]
    assert last["test_wrong"] == pytest.approx(1 - last["test_accuracy"])
    assert 0.1 <= last["test_certainty"] <= 1
    assert last["test_largest"] > 0
    keys = {"task.extra_metrics": f"{__name__}:wrong,{__name__}:certainty,{__name__}:Largest"}
    named = Run.from_keys({**keys, **QUICK})
    assert named == Run(metrics=[wrong, certainty, Largest], **QUICK)
    again = simulate(named).metrics[-1]
    timeless = {name for name in last if "seconds" not in name}
    assert {name: again[name] for name in timeless} == {name: last[name] for name in timeless}
    assert named.learnt.scores[2] == Score("wrong", "lower", "share")


def test_beside_those_of_the_task(tmp_path: Path) -> None:
    def halved(outputs: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * (outputs.argmax(dim=1) == targets)

    run = Run(metrics=["macro_f1", halved], out=tmp_path / "r", **QUICK)
    last = simulate(run).metrics[-1]
    assert last["test_halved"] == pytest.approx(0.5 * last["test_accuracy"])
    assert "test_macro_f1" in last
    assert run.keys()["task.extra_metrics"].startswith("macro_f1,given:halved-")
    assert Run.from_keys(run.keys()) == run
    (metric,) = [metric for metric in run.learnt.recorded if metric.name == "halved"]
    sent = cloudpickle.loads(cloudpickle.dumps(metric))
    assert torch.equal(sent.statistics(torch.eye(3), torch.arange(3)), metric.statistics(torch.eye(3), torch.arange(3)))


def scalar(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.mean()


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs[:, 0]


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        (3, "metrics = 3: must be a function"),
        (accuracy, "another metric called accuracy"),
        ("nothing", r"task\.extra_metrics = nothing: .* has .*macro_f1.* or your own package\.module:function"),
        (f"{__name__}:QUICK", "must be a function"),
    ],
)
def test_what_is_no_metric_is_refused(metric: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Run(metrics=[metric], **QUICK)


def test_a_number_for_each_example_is_needed() -> None:
    with pytest.raises(InputError, match=r"gave \[\] for \d+ examples, must give a tensor"):
        simulate(Run(metrics=[scalar], **QUICK))
