"""What of a user's module cannot be honoured, and is refused when the model is built; numbers of the data by name."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fedsam.config import resolve
from fedsam.errors import InputError
from fedsam.models.base import Model
from fedsam.models.initialise import initialised

HERE = __name__
OURS = {"weights": None, "adapter": "none"}  # keys of every model


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Any:
        return self.out(x.flatten(1))


class Past(Bare):
    """Uses a weight that is not handed in."""

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "kept"):
            self.kept = [self.out.weight]
        return F.linear(x.flatten(1), self.kept[0], self.out.bias)


class Heads(Bare):
    def forward(self, x: Tensor) -> Any:
        found = super().forward(x)
        return {"one": found, "other": found} if self.training else found


class Labels(Bare):
    def forward(self, x: Tensor) -> Tensor:
        found = super().forward(x)
        return found if self.training else found.argmax(1)


class Dreaming(Bare):
    """Draws in evaluation alone."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.dropout(x, 0.5, training=not self.training))


class Counting(Bare):
    """A buffer that moves in evaluation alone."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            self.seen += 1
        return super().forward(x)


class Renormalised(Bare):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.out.weight.mul_(0.9)
        return super().forward(x)


class Scribbling(Bare):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(2))


class Remembering(Bare):
    """A state that is in no buffer."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) * self.calls


class Own(nn.BatchNorm2d):
    """Moves its statistics past torch's forward, as timm's BatchNormAct2d."""

    def forward(self, x: Tensor) -> Tensor:
        moments = self.running_mean, self.running_var
        return F.batch_norm(x, *moments, self.weight, self.bias, self.training, 0.1, self.eps).relu()


class Fixed(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


class Awake(Bare):
    """Its dropout is there in evaluation, whatever its mode."""

    def eval(self) -> Awake:
        super().eval()
        self.scale = 2.0
        return self

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * getattr(self, "scale", 1.0)


class Saved(Bare):
    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {name: tensor.clone() for name, tensor in super().state_dict(*args, **kwargs).items()}


def hooked() -> nn.Module:
    module = Bare()
    module.out.weight.register_hook(lambda gradient: gradient * 0)
    return module


def locked() -> nn.Module:
    module = Bare()
    module.lock = threading.Lock()
    return module


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(Bare(), torch.zeros(2, 1, 8, 8))


def compiled() -> nn.Module:
    module = Bare()
    module._compiled_call_impl = module._call_impl  # what module.compile() sets
    return module


def normal(norm: nn.Module) -> nn.Module:
    return nn.Sequential(norm, nn.Flatten(), nn.Linear(64, 3))


def patched() -> nn.Module:
    layer = nn.BatchNorm2d(1)
    own = layer.forward
    layer.forward = lambda x: own(x).abs()  # type: ignore[method-assign]
    return normal(layer)


REFUSED: dict[str, tuple[Any, str]] = {
    "a weight past its parameters": (Past, "output in training is .* of its size away.*another model would be trained"),
    "heads in training": (Heads, "gave dict with one, other, none of them called logits, .* for a batch of 2 images"),
    "labels in evaluation": (Labels, "gave torch.int64 in evaluation"),
    "draws in evaluation": (Dreaming, "a forward pass in evaluation .* is not reproducible"),
    "a buffer moves in evaluation": (Counting, "buffer 'seen' is no constant"),
    "a parameter moves": (Renormalised, "parameter 'out.weight' is no constant"),
    "changed images": (Scribbling, "changes the images that it is given"),
    "a hidden state": (Remembering, "output in training"),
    "its own statistics": (lambda: normal(Own(1)), "layer '0' is Own and moves its running statistics by itself"),
    "fixed statistics": (lambda: normal(Fixed(1)), "running statistics past torch.nn.BatchNorm's own forward"),
    "a patched layer": (patched, "layer '0' is BatchNorm2d and moves its running statistics by itself"),
    "an eval of its own": (Awake, "output in evaluation"),
    "a state of its own": (Saved, "state_dict.. leaves out its parameter 'out.weight'"),
    "a hook on a weight": (hooked, "parameter 'out.weight' has a hook, which would be lost"),
    "no copy": (locked, "cannot be copied .*lock"),
    "spectral norm": (
        lambda: nn.Sequential(nn.Flatten(), nn.utils.parametrizations.spectral_norm(nn.Linear(64, 3))),
        "leave spectral_norm out",
    ),
    "torch.jit": (scripted, "compiled by torch.compile or torch.jit"),
    "torch.compile": (compiled, "compiled by torch.compile or torch.jit"),
    "several devices": (lambda: nn.DataParallel(Bare()), "is DataParallel, which copies itself"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_honoured_is_refused(case: str) -> None:
    build, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as error:
        initialised(build, "theirs", (8, 8, 1), 3, 0)
    assert error.value.key == "name"
    assert "\n" not in str(error.value)


class Merging(Bare):
    """Adds a product to its weight in evaluation, as LoRA layers do."""

    def __init__(self) -> None:
        super().__init__()
        self.out.requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.ones(2, 64)), nn.Parameter(torch.zeros(3, 2))
        self.merged = False

    def train(self, mode: bool = True) -> Merging:
        super().train(mode)
        if mode is self.merged:
            self.out.weight.data += (-1 if mode else 1) * (self.b.data @ self.a.data)
            self.merged = not mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = super().forward(x)
        return found if self.merged else found + x.flatten(1) @ self.a.T @ self.b.T


def frozen_own() -> nn.Module:
    module = normal(Own(1))
    module[0].eval()
    return module


ACCEPTED = {"merged in evaluation": Merging, "its own statistics, frozen": frozen_own}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_can_is_not(case: str) -> None:
    assert isinstance(initialised(ACCEPTED[case], "theirs", (8, 8, 1), 3, 0), nn.Module)


# numbers of the data by the names that a callable has for them


def labelled(n_classes: int = 7, in_chans: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(in_chans, 2, 3), nn.Flatten(), nn.Linear(72, n_classes))


def both(classes: int, n_classes: int = 7) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, n_classes), nn.Linear(n_classes, classes))


def _inner(width: int, num_labels: int = 1000, in_chans: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(in_chans, width, 3), nn.Flatten(), nn.Linear(36 * width, num_labels))


def passing(width: int = 2, **kwargs: Any) -> nn.Module:
    return _inner(width, **kwargs)


def swallowing(**kwargs: Any) -> nn.Module:
    torch.rand(3)  # draws before it fails
    return _inner(2, num_labels=kwargs.get("n_classes", 1000), in_chans=1)


def thousand(**kwargs: Any) -> nn.Module:
    if kwargs:
        raise TypeError(f"unexpected keyword argument {next(iter(kwargs))!r}")
    return _inner(2, in_chans=1)


def built(name: str, **keys: Any) -> nn.Module:
    return resolve(Model, {"name": f"{HERE}:{name}", **keys}).module((8, 8, 1), 3, 0)


@pytest.mark.parametrize("name", ["labelled", "passing", "swallowing"])
def test_a_callable_is_given_the_names_that_it_understands(name: str) -> None:
    module = built(name)
    assert module(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    assert torch.equal(module[0].weight, built(name)[0].weight)


def test_draws_of_attempts_that_failed_do_not_count() -> None:
    assert torch.equal(built("swallowing", n_classes=3)[0].weight, built("swallowing")[0].weight)


def test_a_second_name_is_an_ordinary_key() -> None:
    assert built("both")[1].out_features == 7
    assert built("both", n_classes=5)[1].out_features == 5


def test_a_name_as_a_key_has_to_be_right_and_is_kept() -> None:
    model = resolve(Model, {"name": f"{HERE}:passing", "num_labels": "3", "width": 4})
    assert model.keys() == {"width": 4, "num_labels": 3, **OURS}
    assert resolve(Model, {"name": model.name, **model.keys()}) == model
    assert model.module((8, 8, 1), 3, 0)[2].out_features == 3
    assert resolve(Model, f"{HERE}:passing").keys() == {"width": 2, **OURS}
    assert built("labelled", n_classes=3)[2].out_features == 3
    with pytest.raises(InputError, match="num_labels = 4: the data have 3"):
        built("passing", num_labels=4)
    with pytest.raises(InputError, match="in_chans = 3: the data have 1"):
        built("labelled", in_chans=3)


def test_without_any_the_number_that_it_gives_is_named() -> None:
    with pytest.raises(InputError, match=r"gave \[2, 1000\].*must give logits \[2, 3\]"):
        built("thousand")


def test_torchvision_is_given_its_number_of_classes() -> None:
    pytest.importorskip("torchvision")
    model = resolve(Model, "torchvision.models:shufflenet_v2_x0_5")
    assert model.module((32, 32, 3), 7, 0).fc.out_features == 7
