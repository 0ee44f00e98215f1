"""The shipped models that give an output for each pixel: what all that are discovered must be, and what each is.

Shapes: B batch, C channels, H height, W width, L classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F  # noqa: N812

from fedsam import Run
from fedsam.check.command import check
from fedsam.config import find, names, resolve
from fedsam.errors import InputError
from fedsam.federated.round_loop import Simulation
from fedsam.models.base import Model
from fedsam.models.bisenetv2 import BiSeNetV2
from fedsam.models.initialise import Form, initial_generator
from fedsam.models.lraspp import LRASPP
from fedsam.models.outputs import outputs_of
from fedsam.models.resize import resized
from fedsam.models.unet import UNet
from fedsam.params import layout_of, theta_of
from tests.support.discovered import ENGINES
from tests.support.scenes import Scenes

ALL = [name for name in names(Model) if "masks" in find(Model, name).requires]
H, W, L = 21, 30, 5  # that no halving divides
SMALL: dict[str, dict[str, Any]] = {
    "bisenetv2": {"width": 8, "groups": 1},
    "lraspp": {"width": 0.125},
    "unet": {"width": 4},
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recipe(name: str) -> Model:
    model: Model = resolve(Model, {"name": name, **SMALL.get(name, {})})
    return model


def make(name: str, seed: int = 0, shape: tuple[int, int, int] = (H, W, 3)) -> nn.Module:
    form = replace(Form.of_images(shape, L), outputs=(L, *shape[:2]))
    return recipe(name).module(shape, L, seed, form)


def channels_last(batch: int, seed: int = 1) -> Tensor:
    images = torch.randn(batch, H, W, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return images.permute(0, 3, 1, 2)


def test_the_shipped_ones_are_discovered() -> None:
    assert {"bisenetv2", "lraspp", "unet"} <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_initialisation_is_torchs_own_from_a_keyed_generator(name: str) -> None:
    theta_P = theta_of(make(name, seed=3))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(initial_generator(3).initial_seed())
        plain = recipe(name).build((H, W, 3), L)
        assert torch.equal(theta_of(make(name, seed=3)), theta_P)
    assert torch.equal(theta_of(plain), theta_P)
    assert not torch.equal(theta_of(make(name, seed=4)), theta_P)


@pytest.mark.parametrize("name", ALL)
def test_an_output_depends_neither_on_the_batch_nor_on_the_order_in_memory(name: str) -> None:
    module, images = make(name).double(), channels_last(3)
    together = outputs_of(module(images))
    for n, image in enumerate(images):
        for one, whole in zip(outputs_of(module(image[None].contiguous())), together, strict=True):
            torch.testing.assert_close(one[0], whole[n], rtol=1e-9, atol=1e-11)
    assert together[0].shape == (3, L, H, W)
    assert together[0].std(dim=0).min() > 0


@pytest.mark.parametrize("name", ALL)
def test_vmap_over_parameters_and_images_is_one_by_one_also_of_gradients(name: str) -> None:
    module = make(name).double()
    layout, theta_P = layout_of(module), theta_of(module)
    thetas, images = torch.stack([theta_P, theta_P * 1.1]), torch.stack([channels_last(2, seed) for seed in (1, 2)])

    def square(theta_P: Tensor, images_BCHW: Tensor) -> Tensor:
        outputs = outputs_of(functional_call(module, layout.views(theta_P), (images_BCHW,)))
        return torch.stack([each.square().sum() for each in outputs]).sum()

    leaf, other = thetas.clone().requires_grad_(), thetas.clone().requires_grad_()
    together = vmap(square)(leaf, images)
    alone = torch.stack([square(*each) for each in zip(other, images, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=0)
    one, another = (torch.autograd.grad(loss.sum(), at)[0] for loss, at in ((together, leaf), (alone, other)))
    torch.testing.assert_close(one, another, rtol=1e-7, atol=1e-9 * float(another.abs().max()))


@pytest.mark.parametrize("name", ALL)
def test_the_curvature_of_its_loss_can_be_measured(name: str) -> None:
    module = make(name).double().eval()
    layout, theta_P = layout_of(module), theta_of(module).requires_grad_()
    loss = functional_call(module, layout.views(theta_P), (channels_last(1),)).log_softmax(1)[:, 0].mean()
    (gradient_P,) = torch.autograd.grad(loss, theta_P, create_graph=True)
    (product_P,) = torch.autograd.grad(gradient_P.square().sum(), theta_P)
    assert product_P.isfinite().all()
    assert product_P.norm() > 0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ALL)
def test_a_step_and_an_evaluation_are_those_of_torch(name: str, engine: str) -> None:
    keys = {"data": Scenes(), "cohort": 5, "rounds": 1, "client.batch_size": 4, "client.lr": 0.1}
    own = {"model.name": name, **{f"model.{key}": value for key, value in SMALL.get(name, {}).items()}}
    found = check(Run.from_keys({**keys, **own, "engine.name": engine, "engine.precision": "fp64"}))
    assert [(one.what, one.difference) for one in found.differing] == []


@pytest.mark.parametrize("name", ALL)
def test_without_masks_it_is_refused_before_anything_is_loaded(name: str) -> None:
    with pytest.raises(InputError, match=rf"model.name = {name}: needs masks, which data.name=digits .* has not; use "):
        Run.from_keys({"model.name": name})


# each of them


@pytest.mark.parametrize(
    ("model", "shape", "classes", "parameters"),
    [
        (UNet(), (32, 32, 3), 5, 109_749),
        # by hand: 3 → 2 → 2, 2 → 4 → 4 below; 4 → 2 to halve, 4 → 2 → 2 above; 2 → 3
        (UNet(width=2, depth=1, norm="none"), (8, 8, 3), 3, 9 * (6 + 4 + 8 + 16) + 4 * 2 + 2 + 9 * (8 + 4) + 2 * 3 + 3),
        (LRASPP(norm="batch"), (32, 32, 3), 21, 3_221_538),  # torchvision's documentation
        (BiSeNetV2(), (64, 64, 3), 19, 3_645_935),
    ],
)
def test_numbers_of_parameters(model: Model, shape: tuple[int, int, int], classes: int, parameters: int) -> None:
    assert layout_of(model.build(shape, classes)).total == parameters


def test_lraspp_is_torchvisions() -> None:
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    theirs = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=L).double()
    ours = LRASPP(norm="batch").build((H, W, 3), L).double()
    ours.load_state_dict(theirs.state_dict())
    images = channels_last(2)
    torch.testing.assert_close(ours(images), theirs(images)["out"], rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images)["out"], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["lraspp", "mobilenet_v2"])
def test_no_batch_normalisation_is_left_and_other_channels_fit(name: str) -> None:
    module = resolve(Model, {"name": name, "width": 0.125}).build((16, 16, 2), L)
    kinds = [type(part) for part in module.modules() if type(part).__module__.startswith("torch.nn")]
    kinds = [kind for kind in kinds if "Norm" in kind.__name__]
    assert set(kinds) == {nn.GroupNorm}
    assert module.eval()(torch.zeros(2, 2, 16, 16)).shape[1] == L


def test_auxiliary_outputs_of_bisenetv2_are_there_in_training_alone() -> None:
    module = make("bisenetv2").double()
    main, *auxiliary = outputs_of(module(channels_last(2)))
    assert [each.shape for each in auxiliary] == [main.shape] * 4
    assert isinstance(module.eval()(channels_last(2)), Tensor)
    parts = [part for name, part in module.named_parameters() if name.startswith("auxiliary")]
    assert all(gradient is None for gradient in torch.autograd.grad(main.sum(), parts, allow_unused=True))


@pytest.mark.parametrize("size", [(11, 9), (2, 3), (5, 7), (1, 1), (40, 8)])
def test_resizing_is_torchs(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(resized(x, size), F.interpolate(x, size=size, mode="bilinear"), rtol=1e-12, atol=1e-14)


def test_the_way_up_of_a_unet_has_what_the_way_down_had() -> None:
    module, images = UNet(width=2, depth=1, norm="none").build((4, 6, 3), L), channels_last(1)[:, :, :4, :6].float()
    above = module.down[0](images)
    below = module.narrow[0](module.down[1](F.max_pool2d(above, 2))).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(module(images), module.out(module.up[0](torch.cat([above, below], 1))))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"depth = 3: needs images of at least 8 pixels a side, these are 4×6"):
        UNet(depth=3).build((4, 6, 3), L)
    with pytest.raises(InputError, match="groups = 3: must divide 16"):
        UNet(groups=3)
    with pytest.raises(InputError, match="width = 12: must be a multiple of 8"):
        BiSeNetV2(width=12)


def test_the_federation_runs_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ALL:
        simulation = Simulation(Run.from_keys({"data": Scenes(), "model.name": name, "cohort": 2, "rounds": 1}))
        assert simulation.context.task.output_shape(simulation.context.spec) == (4, 16, 12)
