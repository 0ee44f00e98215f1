"""`fedsam check`: what it says of a run, and that a difference from torch is seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedsam import Run
from fedsam.check.command import check
from fedsam.cli.app import main
from fedsam.engine.kernels.cnn_cpu import CPUConvolutions
from fedsam.engine.kernels.mlp import Perceptron
from fedsam.errors import InputError
from fedsam.models.functional import Network
from tests.support.ragged import Ragged
from tests.support.texts import Texts

HERE = __name__


def frozen(in_channels: int, classes: int) -> nn.Module:
    module = nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, classes))
    module[0].requires_grad_(False)
    return module


def run_of(**keys: Any) -> Run:
    common = {"data": Ragged(), "cohort": 4, "rounds": 7, "engine.threads": 1, "client.batch_size": 4}
    return Run.from_keys({**common, "engine.precision": "fp64", **keys})


CONVOLUTIONS = {"model.name": "cnn", "model.channels": 2, "data": Ragged(size=16), "engine.name": "loop"}
RUNS: dict[str, dict[str, Any]] = {
    "perceptron": {"client.name": "asam", "server.name": "scaffold"},
    "loop": {"engine.name": "loop", "client.name": "sam", "client.base": "adamw"},
    "batch normalisation": {"model.name": f"{HERE}:frozen", "client.momentum": 0.9, "client.persistent": True},
    "local statistics": {"model.name": f"{HERE}:frozen", "server.batchnorm": "local", "engine.name": "cohort"},
    "convolutions": CONVOLUTIONS,
    "augmented": {"data": {"name": f"{Ragged.__module__}:Ragged", "augment": "mixup"}},
    "bfloat16": {"engine.precision": "bf16", "engine.name": "cohort"},
    "pgd": {"client.name": "adversarial", "client.steps": 2},
    "tokens, with dropout": {
        "data": Texts(),
        "model": {"name": "transformer", "width": 8, "dropout": 0.2, "adapter": "lora"},
        "engine.name": "cohort",
    },
}


@pytest.mark.parametrize("case", RUNS)
def test_a_step_is_that_of_torch(case: str) -> None:
    found = check(run_of(**RUNS[case]))
    summary = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert summary["torch"]["equal"], found.differing
    assert {"initial weights", "evaluation"} < {one["what"] for one in summary["torch"]["comparisons"]}
    assert summary["time"]["run_seconds"] > 0


def test_what_it_says() -> None:
    spec = check(run_of(**{"model.name": f"{HERE}:frozen", "engine.name": "cohort"})).spec
    assert spec["model"] == {
        "name": f"{HERE}:frozen",
        "parameters": 40 + 8 + 435,
        "trained": 8 + 435,
        "frozen": 40,
        "buffers": 9,
        "statistics": 9,
    }
    size = 8 * (8 + 435 + 9)
    assert spec["traffic"] == {"clients": 4, "bytes_down": 4 * size, "bytes_up": 4 * size}
    assert spec["memory"]["weights"] == 8 * 443
    assert (spec["engine"]["in_blocks"], spec["engine"]["block"]) == (True, 64)
    assert spec["engine"]["gradient"] == "autograd"
    assert check(run_of()).spec["engine"]["gradient"] == "derived by hand for perceptrons"
    data = spec["data"]
    assert (data["clients"], data["smallest"], data["largest"], data["examples"]) == (7, 1, 23, 61)


def off(of: Any, place: int = 0) -> Any:
    """A gradient that is 1 % too long in one entry of its results."""

    def wrong(self: Any, *given: Any) -> Any:
        found = list(of(self, *given))
        found[place] = 1.01 * found[place]
        return tuple(found)

    return wrong


@pytest.mark.parametrize(
    ("kernel", "what", "keys"),
    [
        (Perceptron, "gradient in a block", {}),
        (CPUConvolutions, "gradient", CONVOLUTIONS),
    ],
)
def test_a_wrong_kernel_is_seen(kernel: Any, what: str, keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "gradient", off(kernel.gradient))
    assert what in [one.what for one in check(run_of(**keys)).differing]


def test_a_wrong_evaluation_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Network.evaluated

    def wrong(self: Network, theta_P: Tensor, inputs: Tensor, *statistics: Tensor) -> Tensor:
        return 1.01 * own(self, theta_P, inputs, *statistics)  # type: ignore[no-any-return]

    monkeypatch.setattr(Network, "evaluated", wrong)
    assert [one.what for one in check(run_of()).differing] == ["evaluation"]


def test_weights_that_are_not_keyed_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    built = iter(range(100))

    def another(in_channels: int, classes: int) -> nn.Module:
        module = frozen(in_channels, classes)
        torch.nn.init.constant_(module[3].bias, float(next(built)))
        return module

    monkeypatch.setitem(globals(), "another", another)
    found = check(run_of(**{"model.name": f"{HERE}:another"})).differing
    assert [one.what for one in found] == ["initial weights"]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    keys = ["data.clients=4", "cohort=2", "engine.threads=1"]
    main_ = ["check", *keys]
    with pytest.raises(SystemExit) as ended:
        main(main_)
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "gradient in a block" in told
    assert "equals torch" in told
    with pytest.raises(SystemExit):
        main([*main_, "--json"])
    assert json.loads(capsys.readouterr().out)["torch"]["equal"] is True
    for method, where, cure in (("_block", "in a block", True), ("gradient", "alone", False)):
        monkeypatch.setattr(Perceptron, method, off(getattr(Perceptron, method)))
        with pytest.raises(SystemExit) as ended:
            main(main_)
        assert ended.value.code == 1
        said = capsys.readouterr()
        assert "DIFFERS FROM torch" in said.out
        assert said.err.startswith(f"error: gradient {where} is ")
        assert "of its size away from torch's" in said.err
        assert ("engine.name=loop" in said.err) is cure
    assert said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_cannot_run_is_refused_as_by_run() -> None:
    with pytest.raises(InputError, match=r"model\.name"):
        check(run_of(**{"model.name": f"{HERE}:missing"}))
