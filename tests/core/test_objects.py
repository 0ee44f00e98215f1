"""Objects instead of names: models and data that exist only in this process, and what becomes of them elsewhere."""

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
import pytest
import torch
from torch import nn

import fedsam
from fedsam import InputError, Run, resume, simulate
from fedsam.border.content import summed
from tests.support.given import OWNER, QUICK, X, Y
from tests.support.interrupted import StopAt


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
