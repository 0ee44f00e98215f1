"""Objects instead of names: models, data and partitions that exist only in this process."""

from __future__ import annotations

import copy
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import TensorDataset

import fedsam
from fedsam import InputError, Run, resume, simulate
from fedsam.border.content import summed
from fedsam.data.images.spec import ImageSpec
from fedsam.data.map_style import Columns, examples_of
from fedsam.rng import stream
from tests.support.interrupted import StopAt

RNG = stream(0, "objects")
X = RNG.normal(size=(120, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)
USERS = np.array([f"user{n % 7}" for n in range(120)])
QUICK: dict[str, Any] = {"rounds": 2, "cohort": 2}


def local(width: int = 8) -> Callable[..., nn.Module]:
    """A function that no other process can import."""

    def net(classes: int, hidden: int = width) -> nn.Module:
        return nn.Sequential(nn.Linear(6, hidden), nn.ReLU(), nn.Linear(hidden, classes))

    return net


def importable(classes: int) -> nn.Module:
    return nn.Linear(6, classes)


def number() -> int:
    return 3


def in_main(source: str, name: str) -> Any:
    """What a cell of a notebook defines."""
    space: dict[str, Any] = {"__name__": "__main__", "nn": nn}
    exec(source, space)
    return space[name]


CELL = """
class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.out = nn.Linear(6, classes)
    def forward(self, x):
        return {scale} * self.out(x)
"""


def data(**keys: Any) -> Any:
    return fedsam.dataset((X, Y), **{"clients": 10, **keys})


def test_what_can_be_imported_goes_by_its_name() -> None:
    run = Run(data=data(), model=importable, **QUICK)
    assert run.keys()["model.name"] == f"{__name__}:importable"
    assert run == Run(data=data(), model={"name": f"{__name__}:importable"}, **QUICK)


def test_a_function_and_its_parameters() -> None:
    run = Run(data=data(), model={"name": local(), "hidden": 5}, **QUICK)
    result = simulate(run)
    assert result.state["0.weight"].shape == (5, 6)
    assert run.keys()["model.name"].startswith("given:net-")
    assert run.keys()["model.hidden"] == 5
    assert Run.from_keys(run.keys()) == run
    assert simulate(Run.from_keys(run.keys())).digest == result.digest


def test_a_module_is_trained_from_its_own_weights_and_not_touched() -> None:
    net = local()(3)
    before = copy.deepcopy(net.state_dict())
    run = Run(data=data(), model=net, **QUICK)
    first, other = simulate(run), simulate(run)
    assert first.digest == other.digest
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    built = run.model.module((6,), 3, seed=5)
    assert all(torch.equal(built.state_dict()[name], value) for name, value in before.items())
    net[0].weight.data.add_(1.0)  # a run that was described stays as it was described only if it is described anew
    assert Run(data=data(), model=net, **QUICK).keys()["model.name"] != run.keys()["model.name"]


def test_layers_of_a_module_stay_torchs_own() -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    simulate(Run(data=data(), model=net, **QUICK))
    assert type(net[1]) is nn.BatchNorm1d
    assert net[1].num_batches_tracked == 0


def test_a_class_that_is_redefined_is_the_new_one() -> None:
    runs = [Run(data=data(), model=in_main(CELL.format(scale=scale), "Net"), **QUICK) for scale in (1, 2, 1)]
    names = [run.keys()["model.name"] for run in runs]
    assert all(name.startswith("given:Net-") for name in names)
    assert names[0] == names[2] != names[1]
    digests = [simulate(run).digest for run in runs]
    assert digests[0] == digests[2] != digests[1]


def test_a_digest_tells_code_defaults_and_what_is_closed_over_apart() -> None:
    assert summed(local(8)) == summed(local(8)) != summed(local(9))
    assert summed(lambda x: x + 1) != summed(lambda x: x + 2)
    one = nn.Linear(2, 2)
    two = copy.deepcopy(one)
    assert summed(one) == summed(two)
    two.bias.data[0] += 1
    assert summed(one) != summed(two)
    assert summed([1, 2]) != summed([12])


def test_digests_are_the_same_in_another_process() -> None:
    code = (
        "def f(x, y=(1, 'a', 2.5)):\n    def g(z):\n        return z in {'a', 'b', 'c'}\n    return g(x) + y[0]\n"
        "class C:\n    value = {'k': [1, 2]}\n    def m(self):\n        return f(1)\n"
    )
    told = f"{code}\nfrom fedsam.border.content import summed\nprint(summed(f), summed(C))"
    words = [sys.executable, "-c", told]
    found = {subprocess.run(words, capture_output=True, text=True, check=True).stdout for _ in "12"}
    assert len(found) == 1


def test_wrong_objects_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="must be a name or an object of class"):
        Run(model=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="returns int"):
        Run(model=number)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"data.*inputs and 3 targets"):
        Run(data=(X, Y[:3]))
    with pytest.raises(InputError, match="object of class"):
        Run(client=local())  # type: ignore[arg-type]


def test_a_class_of_parts_is_one_with_its_defaults() -> None:
    from fedsam.optim import ASAM

    assert Run(client=ASAM) == Run(client=ASAM())  # type: ignore[arg-type]


class Pairs(TorchDataset[tuple[Tensor, int]]):
    classes = ("a", "b", "c")

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        return torch.tensor(X[at]), int(Y[at])


class Named(TorchDataset[dict[str, Any]]):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, at: int) -> dict[str, Any]:
        return {"x": X[at], "label": Y[at], "who": USERS[at]}


def holders() -> dict[str, Any]:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({f"c{n}": X[:, n] for n in range(6)} | {"label": Y, "who": USERS})
    return {
        "arrays": ((X, Y), Columns()),
        "lists": ([X.tolist(), Y.tolist()], Columns()),
        "tensors": ((torch.tensor(X), torch.tensor(Y)), Columns()),
        "tensor data set": (TensorDataset(torch.tensor(X), torch.tensor(Y)), Columns()),
        "pairs": (Pairs(), Columns()),
        "mappings": (Named(), Columns(groups="who")),
        "data frame": (table, Columns(inputs=[f"c{n}" for n in range(6)], groups="who")),
    }


@pytest.mark.parametrize("kind", holders())
def test_examples_of_every_holder(kind: str) -> None:
    given, columns = holders()[kind]
    found = examples_of(given, columns)
    assert np.allclose(found.inputs, X)
    assert found.targets.tolist() == Y.tolist()
    assert found.groups is None or found.groups.tolist() == USERS.tolist()
    assert (found.groups is not None) == (columns.groups is not None)


def test_a_hugging_face_data_set_with_a_column_for_clients() -> None:
    hub = pytest.importorskip("datasets")
    features = hub.Features(
        {
            "image": hub.Array2D((4, 4), "uint8"),
            "label": hub.ClassLabel(names=["cat", "dog"]),
            "writer": hub.Value("string"),
        }
    )
    pixels = RNG.integers(0, 256, size=(60, 4, 4)).astype(np.uint8)
    labels, writers = [n % 2 for n in range(60)], [f"w{n % 5}" for n in range(60)]
    held = hub.Dataset.from_dict({"image": pixels, "label": labels, "writer": writers}, features=features)
    own = fedsam.dataset(held, groups="writer", partition="natural")
    spec, train, test = own.read()  # type: ignore[attr-defined]
    assert isinstance(spec, ImageSpec)
    assert (spec.shape, spec.names, spec.groups) == ((4, 4, 1), ("cat", "dog"), ("w0", "w1", "w2", "w3", "w4"))
    assert len(train) == 48
    assert len(test) == 12
    federation = own.load(0)
    assert federation.clients == 5
    assert [int(n) for n in federation.sizes(range(5))] == np.bincount(train.groups, minlength=5).tolist()
    with pytest.raises(InputError, match="name a column for the groups; there are image, label, writer"):
        fedsam.dataset(held, groups="author")


def test_images_are_known_as_images() -> None:
    pixels = RNG.integers(0, 256, size=(20, 3, 5, 7)).astype(np.uint8)
    labels = np.arange(20) % 4
    for given in (pixels, pixels.transpose(0, 2, 3, 1), pixels.astype(np.float32) / 255):
        spec, _, _ = fedsam.dataset((given, labels), (given, labels)).read()  # type: ignore[attr-defined]
        assert isinstance(spec, ImageSpec)
        assert spec.shape == (5, 7, 3)
        mean = pixels.mean(axis=(0, 2, 3)) / 255
        assert spec.mean == pytest.approx(mean.tolist(), abs=1e-5)
        run = Run(data=fedsam.dataset((given, labels), (given, labels), clients=5), model="mlp", **QUICK)
        federation = run.data.load(0)
        assert np.array_equal(federation.test.inputs, pixels.transpose(0, 2, 3, 1))


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        (Y, "classification"),
        (X[:, 0], "regression"),
        (X[:, :2], "regression"),
        (np.stack([Y > 0, Y > 1], axis=1).astype(np.int64), "multilabel"),
    ],
)
def test_the_task_is_that_of_the_targets(targets: np.ndarray, task: str) -> None:
    own = fedsam.dataset((X, targets), clients=5, partition="iid")
    assert Run(data=own, cohort=2).learnt.name == task
    assert fedsam.dataset((X, Y), task="regression").task == "regression"


def test_a_test_set_of_ones_own_and_one_by_lot() -> None:
    spec, train, test = fedsam.dataset((X, Y)).read()  # type: ignore[attr-defined]
    assert (len(train), len(test)) == (96, 24)
    both = np.concatenate([train.inputs, test.inputs])
    assert sorted(map(tuple, both.tolist())) == sorted(map(tuple, X.tolist()))
    assert spec.classes == 3
    _, train, test = fedsam.dataset((X[:100], Y[:100]), (X[100:], Y[100:])).read()  # type: ignore[attr-defined]
    assert np.array_equal(test.inputs, X[100:])
    assert Run(data=((X[:100], Y[:100]), (X[100:], Y[100:]))).data.read()[2].targets.tolist() == Y[100:].tolist()  # type: ignore[attr-defined]


LISTS = [list(range(start, 96, 8)) for start in range(8)]
OWNER = np.arange(96) % 8


def by_position(labels: np.ndarray, clients: int | None, rng: np.random.Generator) -> np.ndarray:
    return np.arange(len(labels)) % (clients or 8)


@pytest.mark.parametrize(
    "given",
    [
        LISTS,
        np.array(LISTS),
        [np.array(part) for part in LISTS],
        OWNER,
        OWNER.tolist(),
        [f"c{n}" for n in OWNER],
        torch.tensor(OWNER),
        by_position,
        lambda labels, clients, rng: LISTS,
    ],
)
def test_partitions_of_every_form(given: Any) -> None:
    own = fedsam.dataset((X, Y), partition=given)
    federation = own.load(0)
    assert federation.clients == 8
    assert [index.tolist() for index in federation.examples(range(8))[1]] == LISTS
    assert Run(data=own, **QUICK).keys()["data.partition"].startswith(("given:", __name__))
    assert Run.from_keys(Run(data=own, **QUICK).keys()) == Run(data=own, **QUICK)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (OWNER[:90], "client for each of 90 examples, the training set has 96"),
        ([[0, 1], [1, 2]], "position 1 twice"),
        ([[0, 1], [96]], "position 96"),
        (lambda labels, clients, rng: None, "neither index lists nor a client"),
    ],
)
def test_impossible_partitions_are_refused(given: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        fedsam.dataset((X, Y), partition=given).load(0)
    with pytest.raises(InputError, match="the partition has 8; leave it out"):
        fedsam.dataset((X, Y), partition=OWNER, clients=5).load(0)


def test_a_data_set_of_ours_divided_by_an_object() -> None:
    from fedsam.data import Digits

    train = len(Digits().load(0).train)  # type: ignore[attr-defined]
    federation = Digits(partition=np.arange(train) % 4).load(0)
    assert federation.clients == 4


def test_the_run_directory_says_what_it_was(tmp_path: Path) -> None:
    run = Run(data=data(), model=local(), out=tmp_path / "r", **QUICK)
    simulate(run)
    described = json.loads((tmp_path / "r" / "run.json").read_text())
    assert described["keys"]["data.name"] == run.data.name == f"given:arrays-{run.data.content.summed()[:12]}"  # type: ignore[attr-defined]
    assert described["keys"]["model.name"].startswith("given:net-")
    assert not [file for file in (tmp_path / "r").rglob("*") if file.suffix in (".pkl", ".pickle", ".pt")]
    page = fedsam.report(tmp_path / "r")
    assert page.path.is_file()


def test_a_run_goes_on_with_the_same_objects_and_no_others(tmp_path: Path) -> None:
    def described(width: int = 8, **keys: Any) -> Run:
        return Run(data=data(), model=local(width), cohort=2, rounds=4, **keys)

    whole = simulate(described()).digest
    stop = StopAt(2)
    with pytest.raises(fedsam.FedsamError, match="stopped after round 2"):
        simulate(described(out=tmp_path / "r"), stop, stop.stop)
    gc.collect()
    with pytest.raises(InputError, match=r"was an object of a Python program.*fedsam\.resume"):
        resume(tmp_path / "r")
    done = subprocess.run(
        [sys.executable, "-m", "fedsam", "run", "--resume", str(tmp_path / "r")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "data.name = given:arrays-" in done.stderr
    with pytest.raises(InputError, match=r"model\.name = given:net"):
        resume(tmp_path / "r", run=described(9))
    with pytest.raises(InputError, match="other values of seed"):
        resume(tmp_path / "r", run=described(seed=3))
    assert resume(tmp_path / "r", run=described()).digest == whole


def test_objects_travel_by_value() -> None:
    run = Run(data=data(partition=OWNER, clients=8), model=in_main(CELL.format(scale=3), "Net"), **QUICK)
    sent = {name: cloudpickle.dumps(getattr(run, name)) for name in ("data", "model")}
    code = (
        "import sys, pickle, base64\n"
        "data, model = (pickle.loads(base64.b64decode(word)) for word in sys.argv[1:3])\n"
        "print(data.name, data.partition.name, model.name, data.load(0).clients)\n"
    )
    import base64

    words = [base64.b64encode(each).decode() for each in sent.values()]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    keys = run.keys()
    assert done.stdout.split() == [keys["data.name"], keys["data.partition"], keys["model.name"], "8"]


def test_several_models_in_one_sweep(tmp_path: Path) -> None:
    nets = [local(4), local(6)]
    found = fedsam.sweep(Run(data=data(), **QUICK), {"model.name": nets}, seeds=1, out=tmp_path / "a")
    names = [run.keys()["model.name"] for run in found.runs.values()]
    assert len(set(names)) == 2
    assert [row["setting"] for row in found.rows()] == [f"model.name={name}" for name in names]
    alone = fedsam.sweep(Run(data=data(), **QUICK), {"model.name": nets[0]}, seeds=1, out=tmp_path / "b")
    assert alone.rows()[0]["mean"] == found.rows()[0]["mean"]


def test_flower_needs_names() -> None:
    run = Run(data=data(), model=local(), engine="flower", **QUICK)
    with pytest.raises(InputError, match=r"data\.name = given:arrays-.*a node of Flower imports what it needs by name"):
        simulate(run)


SCRIPT = '''
import numpy as np
from torch import nn

import fedsam
from fedsam import Run
from fedsam.optim.sgd import SGD


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.out = nn.Linear(6, classes)

    def forward(self, x):
        return self.out(x)


class Halved(SGD):
    """Half the rate."""

    def descend(self, theta_P, state, gradient_P, lr):
        return super().descend(theta_P, state, gradient_P, 0.5 * lr)


if __name__ == "__main__":
    x = np.random.default_rng(0).normal(size=(120, 6)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    data = fedsam.dataset((x, y), partition=np.arange(96) % 8)
    run = Run(data=data, model=Net, client=Halved(lr=0.2), cohort=4, rounds=2)
    alone = fedsam.sweep(run, {"client.lr": [0.1, 0.2]}, seeds=1, out="alone")
    rayed = fedsam.sweep(run, {"client.lr": [0.1, 0.2]}, seeds=1, out="rayed", workers=2)
    assert [row["mean"] for row in alone.rows()] == [row["mean"] for row in rayed.rows()]
    here = fedsam.simulate(run.replace(engine="loop"))
    there = fedsam.simulate(run.replace(engine={"name": "ray", "workers": 2}))
    assert np.allclose(here.df.test_loss, there.df.test_loss, rtol=1e-5)  # in blocks, or one by one
    found = fedsam.tune(run, {"client.lr": [0.1, 0.2]}, search="grid", rounds=2, seeds=1, out="tuned")
    assert found.df.state.tolist() == ["done", "done"]
    print("ok")
'''


def test_objects_of_a_script_reach_ray_workers(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=None
    )
    assert done.stdout.endswith("ok\n"), done.stderr[-3000:]
