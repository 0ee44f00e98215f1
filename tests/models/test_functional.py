"""A user's module is the module that is trained: its layers, modes, hooks and names, against plain torch."""

from __future__ import annotations

import copy
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fedsam import Run, resume, simulate
from fedsam.check.command import check
from fedsam.engine.kernels.match import plain
from fedsam.engine.kernels.mlp import Perceptron
from fedsam.errors import Interrupted
from fedsam.models.batchnorm import Keyed
from fedsam.models.functional import Network
from fedsam.models.initialise import initialised
from fedsam.params import layout_of, theta_of
from tests.support.discovered import ENGINES
from tests.support.interrupted import StopAt
from tests.support.kernels import matched
from tests.support.ragged import Ragged

HERE = __name__


class Halved(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * super().forward(x).relu()


class Wrapper(nn.Module):
    """What depends on the mode: noise's place, a dropout that is frozen, statistics that a parent reads itself."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv, self.norm, self.frozen = nn.Conv2d(1, 4, 3), Halved(4), nn.BatchNorm2d(4)
        self.drop, self.out = nn.Dropout(0.5), nn.Linear(4 * 36, classes)
        self.frozen.running_mean.fill_(0.7)
        self.frozen.running_var.fill_(4.0)
        self.frozen.eval()
        self.drop.eval()
        self.norm.register_forward_hook(lambda layer, inputs, output: output + 0.1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.frozen(self.norm(self.conv(x)))
        if not self.training:
            hidden = 2 * hidden + self.norm.running_mean.view(-1, 1, 1)
        return self.out(self.drop(hidden).flatten(1))


class Aliased(nn.Module):
    """A layer with two names, one that is used twice, and one weight in two layers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 64))
        self.again, self.norm = self.body[1], nn.BatchNorm1d(64)
        self.same = self.norm
        self.tied, self.out = nn.Linear(64, 64), nn.Linear(64, classes)
        self.tied.weight = self.again.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.tied(self.again(self.same(self.body(x)).relu())))


def around(classes: int) -> nn.Module:
    return Wrapper(classes)


def aliased(classes: int) -> nn.Module:
    return Aliased(classes)


def asleep(classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, classes)).eval()


MODELS = ["around", "aliased", "asleep"]


def described(model: str, engine: str, **keys: Any) -> Run:
    common = {"data": Ragged(), "model.name": f"{HERE}:{model}", "client.lr": 0.1, "cohort": 5, "rounds": 3}
    engines = {"engine.name": engine, "engine.precision": "fp64", "engine.threads": 1}
    return Run.from_keys({**common, **engines, "evaluate_every": 1, **keys})


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_step_and_an_evaluation_are_those_of_torch(model: str, engine: str) -> None:
    found = check(described(model, engine, **{"client.batch_size": 4}))
    assert len(found.comparisons) >= 4
    assert [(one.what, one.difference) for one in found.differing] == []


@pytest.mark.parametrize("model", MODELS)
def test_the_state_is_loaded_into_the_untouched_module_and_evaluates_as_it_did_here(model: str, tmp_path: Path) -> None:
    run = described(model, "cohort", out=str(tmp_path / "run"))
    result = simulate(run)
    module = globals()[model](3).double()
    assert list(result.state) == list(module.state_dict())
    module.load_state_dict(safetensors.torch.load_file(tmp_path / "run" / "model.safetensors"), strict=True)
    data = run.data.load(run.seed)
    images = torch.from_numpy(data.test.inputs).double().permute(0, 3, 1, 2)
    logits = module.eval()((images / 255 - 0.4) / 0.3)
    loss = F.cross_entropy(logits, torch.from_numpy(data.test.targets)).item()
    assert result.metrics[-1]["test_loss"] == pytest.approx(loss, rel=1e-9)
    other = simulate(described(model, "loop"))
    for name, tensor in other.state.items():
        torch.testing.assert_close(tensor, result.state[name], rtol=1e-9, atol=1e-10)


def test_frozen_statistics_stay_and_others_move() -> None:
    state = simulate(described("around", "loop")).state
    assert state["frozen.running_mean"].tolist() == pytest.approx([0.7] * 4, rel=1e-6)
    assert state["frozen.running_var"].tolist() == [4.0] * 4
    assert state["frozen.num_batches_tracked"] == 0
    assert state["norm.num_batches_tracked"] > 0


def test_names_of_one_layer_hold_the_same_numbers() -> None:
    state = simulate(described("aliased", "loop")).state
    for one, other in (("again", "body.1"), ("same", "norm")):
        for name in [name for name in state if name.startswith(f"{one}.")]:
            assert torch.equal(state[name], state[name.replace(one, other, 1)])
    assert torch.equal(state["tied.weight"], state["again.weight"])
    assert not torch.equal(state["tied.bias"], state["again.bias"])
    assert state["norm.running_mean"].abs().sum() > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_layer_with_two_names_is_resumed_to_the_same_bits(engine: str, tmp_path: Path) -> None:
    whole = simulate(described("aliased", engine, out=str(tmp_path / "whole")))
    stop = StopAt(1)
    with pytest.raises(Interrupted):
        simulate(described("aliased", engine, out=str(tmp_path / "stopped")), stop, stop.stop)
    assert resume(tmp_path / "stopped").digest == whole.digest


def test_layers_keep_their_class_and_travel() -> None:
    module = initialised(lambda: Wrapper(3), "around", (8, 8, 1), 3, 0)
    norm = module.norm
    assert isinstance(norm, Keyed)
    assert isinstance(norm, Halved)
    assert type(norm).__name__ == "Halved"
    module.norm._forward_hooks.clear()  # a lambda cannot be pickled
    theta_P, images = theta_of(module), torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = None
    for each in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        network = Network(each, layout_of(each))
        assert network.norms is not None
        with network.norms.training(network.norms.initial(theta_P), None) as done:
            (output,) = network.trained(theta_P, images)
        found = output, network.norms.after(done), network.evaluated(theta_P, images, network.norms.after(done))
        expected = expected or found
        assert all(map(torch.equal, found, expected))
        assert each.training
        assert not each.frozen.training
        assert not torch.equal(found[0], found[2])


def test_a_model_in_evaluation_mode_stays_so_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fedsam"):
        module = initialised(lambda: asleep(3), "asleep", (8, 8, 1), 3, 0)
    assert "comes in evaluation mode" in caplog.text
    assert not module[1].training


# kernels that know a network by its layers


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def perceptron(last: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), last or nn.Linear(5, 3))


def convolutional(first: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(first or nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))


class Twice(nn.Conv2d):
    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return 2 * super()._conv_forward(x, weight, bias)


def patched(module: nn.Module, name: str, value: Any) -> nn.Module:
    setattr(module, name, value)
    return module


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda layer, inputs, output: 2 * output)
    return module


OTHERS: dict[str, Any] = {
    "a subclass": lambda: perceptron(Doubled(5, 3)),
    "a hook": lambda: perceptron(hooked(nn.Linear(5, 3))),  # type: ignore[arg-type]
    "another forward": lambda: perceptron(patched(nn.Linear(5, 3), "forward", lambda x: x[:, :3])),
    "weight normalisation": lambda: perceptron(nn.utils.parametrizations.weight_norm(nn.Linear(5, 3))),
    "no bias": lambda: perceptron(nn.Linear(5, 3, bias=False)),
    "a frozen layer": lambda: perceptron(nn.Linear(5, 3).requires_grad_(False)),
    "a subclass of convolution": lambda: convolutional(Twice(1, 2, 3)),
    "another convolution": lambda: convolutional(
        patched(nn.Conv2d(1, 2, 3), "_conv_forward", lambda x, weight, bias: x.repeat(1, 2, 1, 1)[:, :, 1:-1, 1:-1])
    ),
    "circular padding": lambda: convolutional(nn.Conv2d(1, 2, 3, padding=0, padding_mode="circular")),
    "dilation": lambda: convolutional(nn.Conv2d(1, 2, 2, dilation=2)),
}


def test_kernels_match_what_they_are_for() -> None:
    assert matched(Perceptron, perceptron()) is not None
    assert plain(convolutional(), layout_of(convolutional())) is not None


@pytest.mark.parametrize("case", OTHERS)
def test_kernels_do_not_match_what_computes_something_else(case: str) -> None:
    module = OTHERS[case]()
    assert matched(Perceptron, module) is None
    assert plain(module, layout_of(module)) is None


def test_nor_what_is_changed_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = nn.modules.module.register_module_forward_hook(lambda layer, inputs, output: output)
    module = perceptron()
    assert matched(Perceptron, module) is None
    handle.remove()
    assert matched(Perceptron, module) is not None
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x.abs())
    assert matched(Perceptron, module) is None
