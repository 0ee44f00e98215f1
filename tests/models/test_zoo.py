"""Models of torchvision, timm and transformers, by name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from fedsam import InputError, Run, simulate
from fedsam.config import find
from fedsam.models.base import Model

SHAPE = (16, 16, 3)
KEYS = {"data.name": "synthetic", "data.size": 16, "data.channels": 3, "data.clients": 4, "cohort": 2, "rounds": 1}


def made(name: str, **keys: Any) -> Any:
    return find(Model, name)(**keys)


def test_torchvision_with_the_classes_of_the_data() -> None:
    model = made("torchvision:squeezenet1_1")
    assert model.name == "torchvision:squeezenet1_1"
    module = model.module((32, 32, 3), 7, 0)
    assert isinstance(module, torchvision.models.SqueezeNet)
    module.eval()
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    again = pickle.loads(pickle.dumps(model)).module((32, 32, 3), 7, 0)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), again.parameters(), strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small vision transformer for three classes, as `save_pretrained` writes it."""
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=16, patch_size=8
    )
    config.num_labels = 3
    torch.manual_seed(5)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    return tmp_path


def test_hugging_face_folder_brings_its_weights(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from transformers import ViTForImageClassification

    saved = ViTForImageClassification.from_pretrained(folder)
    capfd.readouterr()
    same = made(f"hf:{folder}").module(SHAPE, 3, 0)
    other = made(f"hf:{folder}").module(SHAPE, 7, 0)
    assert "LOAD REPORT" not in capfd.readouterr().err
    assert torch.equal(same.classifier.weight, saved.classifier.weight)
    assert other.classifier.weight.shape == (7, 8)
    inner = "vit.embeddings.cls_token"
    assert torch.equal(other.state_dict()[inner], saved.state_dict()[inner])


def test_hugging_face_configuration_alone_begins_anew(folder: Path) -> None:
    name = f"hf:{folder / 'config.json'}"
    first, second, third = (made(name).module(SHAPE, 7, seed) for seed in (0, 0, 1))
    weights = [module.vit.embeddings.cls_token for module in (first, second, third)]
    kernels = [module.vit.embeddings.patch_embeddings.projection.weight for module in (first, second, third)]
    assert first.classifier.weight.shape == (7, 8)
    assert torch.equal(kernels[0], kernels[1])
    assert not torch.equal(kernels[0], kernels[2])
    assert weights[0].shape == (1, 1, 8)


def test_hugging_face_trains(folder: Path) -> None:
    run = Run.from_keys({**KEYS, "model.name": f"hf:{folder}", "client.epochs": 1})
    last = simulate(run).metrics[-1]
    assert 0 < last["test_loss"] < 3
    assert Run.from_keys(run.keys()) == run


def test_hugging_face_refusals(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match=r"there is no .*must be a folder with a config.json .*Nothing is fetched"):
        Run(model=f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="is not read by transformers"):
        Run(model=f"hf:{tmp_path}")
    (tmp_path / "other.json").write_text('{"model_type": "vit", "architectures": ["NoSuchClass"]}')
    with pytest.raises(InputError, match=r"names the class NoSuchClass, which transformers .* has not"):
        Run(model=f"hf:{tmp_path / 'other.json'}")


def test_timm_fits_the_data() -> None:
    pytest.importorskip("timm")
    module = made("timm:vit_tiny_patch16_224", patch_size=8).module(SHAPE, 7, 0)
    assert module(torch.zeros(2, 3, 16, 16)).shape == (2, 7)
    assert module.patch_embed.num_patches == 4
    gray = made("timm:resnet18").module((32, 32, 1), 5, 0).eval()
    assert gray(torch.zeros(2, 1, 32, 32)).shape == (2, 5)
    with pytest.raises(InputError, match=r"did you mean timm:resnet18\?"):
        made("timm:resnet18x")
