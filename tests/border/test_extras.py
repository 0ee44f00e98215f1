"""Parts of other libraries: each is refused in one line with the extra's name where its package is absent."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fedsam
from fedsam import InputError, Run
from fedsam.border.extra import EXTRAS, needed
from fedsam.config import find
from fedsam.data.hub import offered as hub_data
from fedsam.data.partition import flower
from fedsam.models.zoo import hugging_face, timm

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
HUB = Path("folder")


def saved(folder: Path) -> None:
    (folder / "folder").mkdir()
    (folder / "folder/dataset_dict.json").write_text("{}")


ASKED: dict[str, tuple[str, Callable[[], Any]]] = {
    "timm": ("model.name = timm:some_model", lambda: Run(model="timm:some_model")),
    "transformers": ("model.name = hf:some", lambda: Run(model="hf:some")),
    "datasets": ("data.folder = folder", lambda: fedsam.simulate(Run(data="hf:folder"))),
    "flwr_datasets": (
        "data.partition = flwr:SomePartitioner",
        lambda: Run.from_keys({"data.partition": "flwr:SomePartitioner"}),
    ),
    "torchmetrics": ("task.extra_metrics = torchmetrics:Accuracy", lambda: Run(metrics="torchmetrics:Accuracy")),
    "dp_accounting": (
        "privacy.name = gaussian",
        lambda: fedsam.simulate(Run.from_keys({"privacy.name": "gaussian", "privacy.noise_multiplier": 1.0})),
    ),
    "tensorboard": ("track.name = tensorboard", lambda: fedsam.simulate(Run(track="tensorboard"))),
    "mlflow": ("track.name = mlflow", lambda: fedsam.simulate(Run(track="mlflow"))),
    "wandb": ("track.name = wandb", lambda: fedsam.simulate(Run(track="wandb"))),
}


@pytest.fixture
def absent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The package cannot be imported, whether or not it is installed."""
    package: str = request.param
    monkeypatch.chdir(tmp_path)
    saved(tmp_path)
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    for cached in (timm.offered, hugging_face.offered, flower.offered, hub_data):
        cached.cache_clear()
    return package


@pytest.mark.parametrize("absent", ASKED, indirect=True)
def test_one_line_names_the_extra(absent: str) -> None:
    asked, use = ASKED[absent]
    with pytest.raises(InputError) as caught:
        use()
    line = str(caught.value)
    assert line.startswith(f"{asked}: ")
    assert f"package {absent.replace('_', '-')}" in line
    assert f"fedsam[{EXTRAS[absent]}]'" in line
    assert "\n" not in line


def test_a_package_that_breaks_is_not_called_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "timm.py").write_text("import no_such_thing_at_all")
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"needs the package timm \(No module named 'no_such_thing_at_all'\)"):
        needed("timm", "name", "timm:x")


@pytest.mark.parametrize(
    "package", [p for p, extra in EXTRAS.items() if extra in PYPROJECT["project"]["optional-dependencies"]]
)
def test_the_extra_brings_the_package(package: str) -> None:
    brought = PYPROJECT["project"]["optional-dependencies"][EXTRAS[package]]
    assert any(line.startswith(package.replace("_", "-")) for line in brought)


def test_names_that_a_library_has_not() -> None:
    for name in ("torchvision:resnet19", "torchvision:"):
        with pytest.raises(InputError, match=rf"model.name = {name}: torchvision has no such model"):
            Run(model=name)
    with pytest.raises(InputError, match=r"did you mean torchvision:resnet18\?"):
        Run(model="torchvision:resnet19")
    with pytest.raises(InputError, match=r"no such .*did you mean torchmetrics:MulticlassAUROC\?"):
        Run(metrics="torchmetrics:MulticlassAUROCC")


def test_a_scheme_is_of_its_kind_alone() -> None:
    from fedsam.algorithm.strategy import Strategy

    assert find(Strategy, "flwr:FedAvg").__name__ == "FedAvg"
    with pytest.raises(InputError, match="cannot import 'hf'"):
        find(Strategy, "hf:some")
