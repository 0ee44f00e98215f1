"""Keyed initialisation, a user's own model, and what is refused."""

import math
import random
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F  # noqa: N812

from fedsam.config import find, resolve
from fedsam.errors import InputError
from fedsam.models.base import Model
from fedsam.models.initialise import UnkeyedDrawError, keyed_generator
from fedsam.params import layout_of, theta_of

HERE = __name__
OURS = {"weights": None, "adapter": "none"}  # keys of every model


def make(
    name: str, shape: tuple[int, int, int] = (16, 16, 3), classes: int = 5, seed: int = 0, **keys: Any
) -> nn.Module:
    return resolve(Model, {"name": name, **keys}).module(shape, classes, seed)


def channels_last(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    """Images [B, C, H, W] in channels-last memory, as they are gathered from bytes."""
    batch, channels, height, width = shape
    images = torch.randn(batch, height, width, channels, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return images.permute(0, 3, 1, 2)


def global_states() -> tuple[Any, ...]:
    kind, words, *rest = np.random.get_state()  # noqa: NPY002 - that it does not move is what is tested
    return random.getstate(), (kind, words.tolist(), rest), torch.get_rng_state().tolist()


# the keyed generator

DRAWS: dict[str, Callable[[], Any]] = {
    "uniform_": lambda: nn.init.uniform_(torch.empty(20)),
    "trunc_normal_": lambda: nn.init.trunc_normal_(torch.empty(20)),
    "trunc_normal_ of a tail": lambda: nn.init.trunc_normal_(torch.empty(20), a=1.0, b=2.0),
    "orthogonal_": lambda: nn.init.orthogonal_(torch.empty(4, 5)),
    "sparse_": lambda: nn.init.sparse_(torch.empty(6, 5), 0.3),
    "kaiming_normal_": lambda: nn.init.kaiming_normal_(torch.empty(4, 5)),
    "rand": lambda: torch.rand(20),
    "randn": lambda: torch.randn(20),
    "randint": lambda: torch.randint(2, 1000, (20,)),
    "randint without low": lambda: torch.randint(1000, (20,)),
    "randperm": lambda: torch.randperm(20),
    "rand out": lambda: torch.rand(20, out=torch.empty(20)),
    "normal": lambda: torch.normal(torch.zeros(20), 2.0),
    "bernoulli": lambda: torch.bernoulli(torch.full((20,), 0.5)),
    "multinomial": lambda: torch.multinomial(torch.ones(20), 10),
    "dropout": lambda: F.dropout(torch.ones(20)),
    "gamma": lambda: torch.distributions.Gamma(torch.ones(20), torch.ones(20)).sample(),
    "beta": lambda: torch.distributions.Beta(torch.ones(20), torch.ones(20)).sample(),
    "binomial": lambda: torch.binomial(torch.full((20,), 9.0), torch.full((20,), 0.5)),
    "attention": lambda: nn.MultiheadAttention(8, 2).in_proj_weight,
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_every_draw_has_the_bits_of_a_global_seed_and_leaves_global_state_alone(draw: Callable[[], Tensor]) -> None:
    before = global_states()
    with keyed_generator(torch.Generator().manual_seed(5)):
        keyed, next_one = draw(), draw()
    assert global_states() == before
    assert not torch.equal(keyed, next_one)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        assert torch.equal(draw(), keyed)
    with keyed_generator(None), pytest.raises(UnkeyedDrawError):
        draw()


def test_an_operation_without_a_generator_form_is_refused() -> None:
    with keyed_generator(torch.Generator()), pytest.raises(UnkeyedDrawError, match="native_dropout"):
        torch.native_dropout(torch.ones(3), 0.5, True)


def test_a_generator_of_its_own_is_kept() -> None:
    with keyed_generator(torch.Generator().manual_seed(5)):
        own = torch.rand(3, generator=torch.Generator().manual_seed(6))
    assert torch.equal(own, torch.rand(3, generator=torch.Generator().manual_seed(6)))


def test_attention_without_dropout_draws_nothing() -> None:
    q = torch.ones(1, 1, 4, 8)
    with keyed_generator(None):
        F.scaled_dot_product_attention(q, q, q)
        F.dropout(q, training=False)


# a user's own


def net(
    in_channels: int, classes: int, width: int = 8, act: Literal["relu", "tanh"] = "relu", norm: Any = nn.GroupNorm
) -> nn.Module:
    """Ten lines of a user."""
    middle = nn.ReLU() if act == "relu" else nn.Tanh()
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3),
        norm(2, width),
        middle,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, classes),
    )


class Viewing(nn.Module):
    """`view` after a convolution, as in many tutorials; fails on tensors in channels-last order."""

    def __init__(
        self,
        num_classes: int,
        shape: tuple[int, int, int],
        *,
        scale: float,
        width=4,
        note: str = None,  # noqa: RUF013 - as users write it
        **rest: Any,
    ):
        super().__init__()
        self.scale, self.note = scale, note
        self.conv = nn.Conv2d(shape[2], width, 3)
        self.fc = nn.Linear(width * (shape[0] - 2) * (shape[1] - 2), num_classes)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv(x)
        return self.fc(hidden.view(hidden.size(0), -1)) * self.scale


def lazy(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(6), nn.ReLU(), nn.LazyLinear(num_classes))


def test_parameters_of_a_callable_are_keys() -> None:
    model = resolve(Model, {"name": f"{HERE}:net", "width": "16", "act": "tanh"})
    assert model.keys() == {"width": 16, "act": "tanh", **OURS}
    assert model.name == f"{HERE}:net"
    module = model.module((8, 8, 3), 5, 0)
    assert (module[0].in_channels, module[0].out_channels, module[5].out_features) == (3, 16, 5)
    assert isinstance(module[2], nn.Tanh)
    assert resolve(Model, {"name": model.name, **model.keys()}) == model
    assert resolve(Model, f"{HERE}:net").keys() == {"width": 8, "act": "relu", **OURS}
    restore, arguments = model.__reduce__()  # how it travels to another process
    assert restore(*arguments) == model


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"widht": 3}, "widht"),
        ({"width": "x"}, "width"),
        ({"act": "gelu"}, "act"),
        ({"norm": 3}, "norm"),
        ({"classes": 3}, "classes"),
    ],
)
def test_keys_of_a_callable_are_validated(keys: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError) as error:
        resolve(Model, {"name": f"{HERE}:net", **keys})
    assert error.value.key == key


def test_a_class_with_required_and_unannotated_parameters() -> None:
    with pytest.raises(InputError, match=r"^scale: needs a value"):
        resolve(Model, f"{HERE}:Viewing")
    with pytest.raises(InputError, match=r"^width = wide: must be a whole number"):
        resolve(Model, {"name": f"{HERE}:Viewing", "scale": 2, "width": "wide"})
    assert resolve(Model, {"name": f"{HERE}:Viewing", "scale": 2, "note": "none"}).note is None
    model = resolve(Model, {"name": f"{HERE}:Viewing", "scale": "2", "note": "x"})
    assert model.keys() == {"scale": 2.0, "width": 4, "note": "x", **OURS}


def test_a_module_that_uses_view_works_also_under_vmap() -> None:
    module = make(f"{HERE}:Viewing", (6, 5, 3), 4, scale=2.0).double()
    images = channels_last(3, 3, 6, 5)
    layout, theta = layout_of(module), theta_of(module)
    w = layout.views(theta)
    expected = 2 * (F.conv2d(images, w["conv.weight"], w["conv.bias"]).reshape(3, -1) @ w["fc.weight"].T + w["fc.bias"])
    torch.testing.assert_close(module(images), expected, rtol=1e-12, atol=1e-14)
    both = vmap(lambda t: functional_call(module, layout.views(t), (images,)))(torch.stack([theta, theta]))
    torch.testing.assert_close(both, torch.stack([expected, expected]), rtol=1e-12, atol=1e-14)


def test_lazy_layers_are_made_and_keyed() -> None:
    before = global_states()
    module = make(f"{HERE}:lazy", seed=2)
    assert global_states() == before
    assert layout_of(module).shapes == ((6, 768), (6,), (5, 6), (5,))
    assert torch.equal(theta_of(make(f"{HERE}:lazy", seed=2)), theta_of(module))


def flat(classes: int, *layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *layers, nn.LazyLinear(classes))


class Bare(nn.Module):
    def __init__(self, classes: int):
        super().__init__()
        self.fc = nn.Linear(768, classes)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


class Counting(Bare):
    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return super().forward(x)


class Noisy(Bare):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + torch.randn_like(x))


class Listing(Bare):
    def forward(self, x: Tensor) -> Tensor:
        return {"features": [super().forward(x)]}


def frozen(classes: int) -> nn.Module:
    return Bare(classes).requires_grad_(False)


def failing(classes: int) -> nn.Module:
    raise KeyError("lost")


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "instance norm": (
        lambda classes: nn.Sequential(nn.InstanceNorm2d(3, track_running_stats=True), Bare(classes)),
        "InstanceNorm2d",
    ),
    "noise": (Noisy, "not reproducible.*randn_like.*leave that out"),
    "changing buffer": (Counting, "buffer 'seen' is no constant"),
    "nothing trainable": (frozen, "nothing to train"),
    "complex": (
        lambda classes: nn.Sequential(Bare(classes), nn.Linear(classes, classes, dtype=torch.cfloat)),
        "complex64",
    ),
    "wrong classes": (lambda classes: Bare(classes + 1), r"gave \[2, 6\].*must give logits \[2, 5\]"),
    "no tensor": (Listing, "gave dict"),
    "wrong input": (
        lambda classes: nn.Linear(7, classes),
        r"forward pass on images \[2, 3, 16, 16\] failed \(RuntimeError",
    ),
    "no module": (lambda classes: {"fc": classes}, "class dict, must be a callable that returns a torch.nn.Module"),
    "exception": (failing, r"building it failed \(KeyError: 'lost'\)"),
    "unkeyed": (lambda classes: torch.native_dropout(torch.ones(3), 0.5, True), "native_dropout"),
}
ACCEPTED: dict[str, Callable[..., Any]] = {
    "batch norm": lambda classes: flat(classes, nn.BatchNorm1d(768)),
    "batch norm without statistics": lambda classes: flat(classes, nn.BatchNorm1d(768, track_running_stats=False)),
    "batch norm whose size is yet unknown": lambda classes: flat(classes, nn.LazyBatchNorm1d()),
    "dropout": lambda classes: flat(classes, nn.Dropout(0.3)),
    "dropout of 0": lambda classes: flat(classes, nn.Dropout(0.0)),
    "instance norm without statistics": lambda classes: nn.Sequential(nn.InstanceNorm2d(3), Bare(classes)),
    "constant buffer": Bare,
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_refused_with_the_reason(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attribute = f"refused_{list(REFUSED).index(case)}"
    function, words = REFUSED[case]
    monkeypatch.setitem(globals(), attribute, function)
    with pytest.raises(InputError, match=words) as error:
        make(f"{HERE}:{attribute}")
    assert error.value.key == "name"
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", ACCEPTED)
def test_their_harmless_relatives_are_not(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attribute = f"accepted_{list(ACCEPTED).index(case)}"
    monkeypatch.setitem(globals(), attribute, ACCEPTED[case])
    assert math.isfinite(theta_of(make(f"{HERE}:{attribute}")).sum())


FINISHED = nn.utils.skip_init(nn.Linear, 2, 2)
NUMBER = 3


def needs_object(classes: int, norm: Callable[[int], nn.Module]) -> nn.Module:
    return norm(classes)


def clashing(classes: int, build: int = 3) -> nn.Module:
    return nn.Linear(classes, build)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("FINISHED", "is a finished module"),
        ("NUMBER", "is 3, must be a Model class or a callable"),
        ("needs_object", "parameter norm.* needs a default"),
        ("clashing", "'build' cannot be a key.*rename it"),
        ("missing", "has no 'missing'"),
    ],
)
def test_what_is_no_recipe_is_refused(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        find(Model, f"{HERE}:{name}")
    assert error.value.key == "name"


def test_other_components_are_no_models() -> None:
    with pytest.raises(InputError, match="must be a Model class"):
        find(Model, "fedsam.optim.sgd:SGD")
