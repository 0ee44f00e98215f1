"""What of a model is trained: LoRA, parts of it, frozen parameters; and weights from a file.

Shapes: I inputs, O outputs, R rank.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from fedsam import InputError, Run, simulate
from fedsam.config import resolve
from fedsam.federated.round_loop import Simulation
from fedsam.models.adapters.lora import LoRA
from fedsam.models.adapters.part import Part
from fedsam.models.base import Model
from fedsam.params import layout_of
from tests.support.every_engine import (
    AT_ONCE,
    EVERY_ENGINE,
    collected,  # noqa: F401
    on,
    same_everywhere,
    stopped_and_resumed,
    weights,
)
from tests.support.flower_grid import inside_flower  # noqa: F401
from tests.support.stock_networks import STOCK, stock

HERE = __name__

pytestmark = EVERY_ENGINE


class Net(nn.Module):
    """A body with a norm and a head."""

    def __init__(self, classes: int, width: int = 12, asleep: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.BatchNorm1d(width), nn.Dropout(0.1))
        self.middle = nn.Linear(width, width)
        self.head = nn.Linear(width, classes)
        if asleep:
            self.body.eval()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.middle(self.body(x)).relu())
        return found


def described(**changes: Any) -> Run:
    keys = {
        **AT_ONCE,
        "data.name": "tests.support.ragged:Ragged",
        "model.name": f"{HERE}:Net",
        "client.batch_size": 4,
        "client.lr": 0.05,
        "cohort": 5,
    }
    lora = {} if "model.adapter" in changes else {"model.adapter": "lora", "model.rank": 2}
    return Run.from_keys(keys | lora | changes)


def trained_names(run: Run) -> tuple[str, ...]:
    return Simulation(run).context.layout.names


PARTS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "last": ({"model.adapter": "part"}, ("head.weight", "head.bias")),
    "norms": ({"model.adapter": "part", "model.trained": "norms"}, ("body.2.weight", "body.2.bias")),
    "named": (
        {"model.adapter": "part", "model.trained": "middle, head.bias"},
        ("middle.weight", "middle.bias", "head.bias"),
    ),
    "lora": (
        {},
        ("body.1.down", "body.1.up", "middle.down", "middle.up", "head.weight", "head.bias"),
    ),
    "lora of a layer": ({"model.targets": "middle", "model.trained": "none"}, ("middle.down", "middle.up")),
}


@pytest.mark.parametrize("case", PARTS)
def test_what_is_trained(case: str) -> None:
    changes, names = PARTS[case]
    assert trained_names(described(**changes)) == names


def test_lora_adds_a_scaled_product_of_two_matrices() -> None:
    with torch.random.fork_rng(devices=[]):
        layer = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2)).double()
        x = torch.randn(4, 5, dtype=torch.float64)
    before = layer(x)
    weight, bias = layer[0].weight.detach().clone(), layer[0].bias.detach().clone()
    LoRA(rank=2, alpha=3.0).adapted(layer)
    assert torch.equal(layer(x), before)  # B is 0
    down_RI, up_OR = layer[0].down, layer[0].up
    assert (down_RI.shape, up_OR.shape) == ((2, 5), (3, 2))
    with torch.no_grad():
        up_OR.copy_(torch.arange(6.0).view(3, 2))
    assert torch.allclose(layer[0](x), x @ (weight + 3.0 / 2 * up_OR @ down_RI).T + bias)
    assert [name for name, p in layer.named_parameters() if p.requires_grad] == ["0.down", "0.up", "2.weight", "2.bias"]


def test_lora_of_a_layer_of_gpt2_counts_inputs_first() -> None:
    pytest.importorskip("transformers")
    from transformers.pytorch_utils import Conv1D

    module = nn.Sequential(Conv1D(3, 5), nn.Linear(3, 2))
    LoRA(rank=2).adapted(module)
    assert (module[0].down.shape, module[0].up.shape) == ((2, 5), (3, 2))
    assert module(torch.ones(4, 5)).shape == (4, 2)


def test_constants_do_not_move_and_do_not_travel() -> None:
    run = described(**{"server.name": "fedavg"})
    simulation = Simulation(run)
    before = {name: tensor.clone() for name, tensor in simulation.context.module.named_parameters()}
    result = simulate(run)
    theta = simulation.context.layout.total
    assert theta == 2 * (64 + 12) + 2 * (12 + 12) + 12 * 3 + 3
    for name, tensor in before.items():
        moved = not torch.equal(result.state[name], tensor)
        assert moved == (name in simulation.context.layout.names), name
    statistics = 12 * 2 + 1
    assert result.metrics[-1]["bytes_up"] == 3 * 5 * 8 * (theta + statistics)


def test_every_engine_trains_the_same() -> None:
    pytest.importorskip("ray")
    same_everywhere(described(), 7)


def test_blocks_train_the_same_parts() -> None:
    run = described(**{"model.adapter": "part", "model.trained": "norms,last"})
    assert float((weights(on("cohort", run)) - weights(on("loop", run))).abs().max()) <= 1e-10


def test_a_module_in_evaluation_mode_stays_so() -> None:
    run = described(**{"model.asleep": True, "server.name": "fedavg"})
    before = dict(Simulation(run).context.module.named_buffers())
    result = simulate(run)
    assert torch.equal(result.state["body.2.running_mean"], before["body.2.running_mean"])
    assert result.metrics[-1]["bytes_up"] == 3 * 5 * 8 * Simulation(run).context.layout.total


@pytest.mark.parametrize("save", ["whole", "trained"])
def test_what_is_saved_and_resumed(tmp_path: Path, save: str) -> None:
    run = described(save=save)
    whole = simulate(run.replace(out=str(tmp_path / "whole")))
    assert stopped_and_resumed(run, tmp_path / "stopped", 1).digest == whole.digest
    state = safetensors.torch.load_file(tmp_path / "whole" / "model.safetensors")
    module, names = Simulation(run).context.module, set(Simulation(run).context.layout.names)
    if save == "whole":
        assert state.keys() == module.state_dict().keys()
    else:
        statistics = {f"body.2.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
        assert state.keys() == names | statistics
    served = simulate(described(save="whole"))
    assert all(torch.equal(state[name], served.state[name]) for name in state)


@pytest.mark.parametrize("save", ["whole", "trained"])
def test_a_run_goes_on_from_what_was_saved(tmp_path: Path, save: str) -> None:
    first = simulate(described(save=save, out=str(tmp_path / "run"), **{"server.name": "fedavg"}))
    whole = simulate(described(**{"server.name": "fedavg"}))
    model = resolve(Model, {"name": "fedsam.reproduce.continued:Continued", "of": str(tmp_path / "run")})
    again = model.module((8, 8, 1), 3, 0)
    for name, tensor in again.state_dict().items():
        assert torch.allclose(tensor.double(), whole.state[name].double(), atol=1e-6), name
    assert first.state.keys() <= whole.state.keys()


# weights of a file


def of_file(path: Path, **keys: Any) -> nn.Module:
    return resolve(Model, {"name": "mlp", "weights": str(path), **keys}).module((8, 8, 1), 10, 0)


@pytest.mark.parametrize("kind", ["safetensors", "pt", "inside"])
def test_weights_of_a_file_are_the_initial_ones(tmp_path: Path, kind: str) -> None:
    state = resolve(Model, "mlp").module((8, 8, 1), 10, seed=5).state_dict()
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    if kind == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if kind == "inside" else state, path)
    found = of_file(path).state_dict()
    assert all(torch.equal(found[name], state[name]) for name in state)
    run = {"model.weights": str(path), "rounds": 1, "client.lr": 1e-30, "engine.threads": 1}
    result = simulate(Run.from_keys(run))
    assert all(torch.equal(result.state[name], state[name]) for name in state)


def test_a_head_of_another_size_keeps_its_initial_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = resolve(Model, "mlp").module((8, 8, 1), 7, seed=5).state_dict()
    del state["fc1.bias"]
    safetensors.torch.save_file(state | {"further": torch.zeros(2)}, tmp_path / "w.safetensors")
    found, initial = of_file(tmp_path / "w.safetensors"), resolve(Model, "mlp").module((8, 8, 1), 10, 0)
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, state[name] if name == "fc1.weight" else initial.state_dict()[name])
    for words in ("fc1.bias are not in it", "out.weight, out.bias have another shape", "further of it are not in"):
        assert words in caplog.text


def test_an_adapter_is_put_beside_the_weights_of_a_file(tmp_path: Path) -> None:
    state = resolve(Model, "mlp").module((8, 8, 1), 10, seed=5).state_dict()
    torch.save(state, tmp_path / "w.pt")
    module = of_file(tmp_path / "w.pt", adapter={"name": "lora", "rank": 3})
    assert torch.equal(module.state_dict()["fc1.base.weight"], state["fc1.weight"])
    assert layout_of(module).names == ("fc1.down", "fc1.up", "out.weight", "out.bias")


class Evil:
    def __reduce__(self) -> Any:
        return (Path("evil").touch, ())


def bad(path: Path, kind: str) -> Path:
    file = path / ("w.safetensors" if kind == "no safetensors" else "w.pt")
    if kind == "code":
        file.write_bytes(pickle.dumps({"fc1.weight": Evil()}))
    elif kind == "no state":
        torch.save([torch.zeros(2)], file)
    elif kind == "nothing fits":
        torch.save({"a": torch.zeros(2)}, file)
    elif kind != "missing":
        file.write_bytes(b"abcdefgh" * 9)
    return file


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "cannot be read as tensors"),
        ("code", "cannot be read as tensors"),
        ("bytes", "cannot be read as tensors"),
        ("no safetensors", "cannot be read as tensors"),
        ("no state", "is no state_dict"),
        ("nothing fits", "has no tensor that fits: it has a, the model fc1.weight, fc1.bias, out.weight and 1 more"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words) as error:
        of_file(bad(tmp_path, kind))
    assert error.value.key == "weights"
    assert "\n" not in str(error.value)
    assert not Path("evil").exists()


@pytest.mark.parametrize(
    ("adapter", "words"),
    [
        (LoRA(targets="fc9"), r"targets = fc9: 'fc9' fits no linear layer of the model; there are fc1, out"),
        (LoRA(trained="fc1,out"), r"targets = : the model has no linear layer to put one beside"),
        (Part(trained="nose"), r"trained = nose: 'nose' fits no part of the model, whose parts are fc1, out"),
        (Part(trained="norms"), r"trained = norms: 'norms' fits no part"),
    ],
)
def test_what_does_not_fit_a_model_is_told(adapter: LoRA | Part, words: str) -> None:
    with pytest.raises(InputError, match=words):
        resolve(Model, {"name": "mlp", "adapter": adapter}).module((8, 8, 1), 10, 0)


# the libraries' own


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", STOCK)
def test_of_stock_networks_the_adapters_travel(name: str) -> None:
    simulation, parameters = Simulation(stock(name)), STOCK[name][1]
    assert simulation.context.layout.total == parameters
    assert simulation.context.network.draws
    # scaffold sends as much again
    assert simulate(stock(name)).metrics[-1]["bytes_up"] == 2 * 3 * 2 * 8 * parameters
