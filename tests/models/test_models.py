"""The shipped models: what all that are discovered must be, and what each of them is."""

import random
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F  # noqa: N812

from fedsam.config import find, names, resolve
from fedsam.errors import InputError
from fedsam.models.base import Model
from fedsam.models.blocks import Subsample
from fedsam.models.cnn import CNN
from fedsam.models.initialise import initial_generator, keyed_generator
from fedsam.models.mlp import MLP
from fedsam.models.resnet8 import ResNet8
from fedsam.models.resnet18 import ResNet18
from fedsam.models.resnet18_imagenet import ResNet18ImageNet
from fedsam.models.resnet20 import ResNet20
from fedsam.models.resnet34 import ResNet34
from fedsam.models.resnet50 import ResNet50
from fedsam.models.wide_resnet import WideResNet
from fedsam.params import layout_of, theta_of

ALL = [name for name in names(Model) if find(Model, name).requires <= {"images"}]


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


pytestmark = pytest.mark.usefixtures("one_thread")


# every model that is discovered


def test_the_shipped_models_are_discovered() -> None:
    found = {
        "bisenetv2",
        "cnn",
        "lraspp",
        "mlp",
        "mobilenet_v2",
        "resnet18",
        "resnet18_imagenet",
        "resnet20",
        "resnet34",
        "resnet50",
        "resnet8",
        "unet",
        "wide_resnet",
    }
    assert found <= set(names(Model))


@pytest.mark.parametrize("name", ALL)
def test_initialisation_is_torchs_own_from_a_keyed_generator(name: str) -> None:
    before = global_states()
    theta = theta_of(make(name, seed=3))
    assert global_states() == before
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        assert torch.equal(theta_of(make(name, seed=3)), theta)
        assert not torch.equal(theta_of(make(name, seed=4)), theta)
        torch.manual_seed(initial_generator(3).initial_seed())
        plain = resolve(Model, name).build((16, 16, 3), 5)
    assert torch.equal(theta_of(plain), theta)


@pytest.mark.parametrize("name", ALL)
def test_logits_of_an_image_do_not_depend_on_its_batch(name: str) -> None:
    module, images = make(name).double(), channels_last(3, 3, 16, 16)
    one_by_one = torch.cat([module(image[None]) for image in images])
    assert one_by_one.std(dim=0).min() > 0
    torch.testing.assert_close(module(images), one_by_one, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_memory_order_of_the_images_changes_nothing(name: str) -> None:
    module, images = make(name).double(), channels_last(2, 3, 16, 16)
    assert not images.is_contiguous()
    torch.testing.assert_close(module(images), module(images.contiguous()), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_vmap_over_parameters_and_images_is_one_by_one(name: str) -> None:
    module = make(name).double()
    layout, theta = layout_of(module), theta_of(module)
    thetas = torch.stack([theta, theta * 1.5])
    images = torch.stack([channels_last(2, 3, 16, 16, seed=seed).permute(0, 2, 3, 1) for seed in (1, 2)])

    def logits(theta: Tensor, images_BHWC: Tensor) -> Tensor:
        return functional_call(module, layout.views(theta), (images_BHWC.permute(0, 3, 1, 2),))

    with torch.no_grad():
        one_by_one = torch.stack([logits(t, x) for t, x in zip(thetas, images, strict=True)])
        torch.testing.assert_close(vmap(logits)(thetas, images), one_by_one, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("mlp", (8, 8, 1)), ("cnn", (28, 28, 1)), ("cnn", (17, 40, 3)), ("resnet20", (8, 8, 1)), ("resnet18", (9, 30, 2))],
)
def test_other_image_sizes(name: str, shape: tuple[int, int, int]) -> None:
    height, width, channels = shape
    assert make(name, shape, 7)(channels_last(3, channels, height, width, dtype=torch.float32)).shape == (3, 7)


def wide(blocks: int, width: int, classes: int, channels: int = 3, *, norms: bool = True) -> int:
    """The parameters of a wide residual network, counted layer by layer."""
    total, inputs = 9 * 16 * channels, 16
    for outputs in (16 * width, 32 * width, 64 * width):
        first = 9 * inputs * outputs + 9 * outputs**2 + inputs * outputs * (inputs != outputs)
        total += first + (blocks - 1) * 18 * outputs**2
        total += norms * 2 * (inputs + outputs + (blocks - 1) * 2 * outputs)
        inputs = outputs
    return total + norms * 2 * inputs + (inputs + 1) * classes


@pytest.mark.parametrize(
    ("model", "shape", "classes", "parameters"),
    [
        (CNN(), (32, 32, 3), 10, 797_962),
        (CNN(), (32, 32, 3), 100, 815_332),
        (MLP(), (8, 8, 1), 10, 64 * 64 + 64 + 64 * 10 + 10),
        (MLP(depth=2, width=200), (28, 28, 1), 10, 199_210),  # the 2NN of McMahan et al. 2017, section 3
        (MLP(depth=0), (8, 8, 1), 10, 64 * 10 + 10),
        (ResNet20(), (32, 32, 3), 10, 269_722),
        (ResNet8(), (32, 32, 3), 10, 75_290),
        # by hand: 9·8 + (2·9·64 + 9·8·16 + 9·16² + 9·16·32 + 9·32²), 2·(8·3 + 16·2 + 32·2) of the norms, 32·7 + 7
        (ResNet8(width=8), (8, 8, 1), 7, 72 + 18_432 + 240 + 231),
        (
            ResNet20(channels=4, norm="none"),
            (8, 8, 1),
            10,
            9 * (4 + 6 * 16 + 32 + 5 * 64 + 128 + 5 * 256) + 16 * 10 + 10,
        ),
        (ResNet18(), (32, 32, 3), 10, 11_173_962),
        (ResNet34(), (32, 32, 3), 10, 21_282_122),
        (ResNet50(), (32, 32, 3), 10, 23_520_842),
        # published: 11.0 and 36.5 million (Zagoruyko and Komodakis 2016, table 4)
        (WideResNet(norm="batch"), (32, 32, 3), 10, wide(2, 8, 10)),
        (WideResNet(depth=28, width=10, norm="batch"), (32, 32, 3), 10, 36_479_194),
        (WideResNet(depth=28, width=10), (32, 32, 3), 100, 36_479_194 + 90 * 641),
        (WideResNet(depth=10, width=1, norm="none"), (8, 8, 1), 7, wide(1, 1, 7, 1, norms=False)),
        (ResNet18ImageNet(norm="batch"), (32, 32, 3), 1000, 11_689_512),  # torchvision's documentation
    ],
)
def test_numbers_of_parameters(model: Model, shape: tuple[int, int, int], classes: int, parameters: int) -> None:
    assert layout_of(model.build(shape, classes)).total == parameters


# each of them


def test_cnn_is_relu_then_pooling() -> None:
    module, images = make("cnn").double(), channels_last(4, 3, 16, 16)
    w = module.state_dict()
    x = images.contiguous()
    for i in (1, 2):
        x = F.max_pool2d(F.relu(F.conv2d(x, w[f"conv{i}.weight"], w[f"conv{i}.bias"])), 2)
    x = x.reshape(4, -1)
    for i in (1, 2):
        x = F.relu(x @ w[f"fc{i}.weight"].T + w[f"fc{i}.bias"])
    torch.testing.assert_close(module(images), x @ w["out.weight"].T + w["out.bias"], rtol=1e-12, atol=1e-14)


def test_cnn_refuses_images_of_which_nothing_is_left() -> None:
    with pytest.raises(InputError, match="at least 16×16, these are 15×32"):
        CNN().build((15, 32, 3), 10)


def test_mlp_of_depth_0_is_affine() -> None:
    module, images = make("mlp", depth=0).double(), channels_last(2, 3, 16, 16)
    shift = module(torch.zeros_like(images))
    torch.testing.assert_close(module(3 * images) - shift, 3 * (module(images) - shift), rtol=1e-12, atol=1e-13)


def test_subsample_keeps_every_second_pixel_and_appends_zeros() -> None:
    images = channels_last(2, 3, 5, 4)
    shrunk = Subsample(3, 5, 2, 1)(images)
    assert shrunk.shape == (2, 5, 3, 2)
    for b, c, i, j in np.ndindex(2, 5, 3, 2):
        assert shrunk[b, c, i, j] == (images[b, c, 2 * i, 2 * j] if c < 3 else 0)


def test_resnet20_with_silent_blocks_is_its_stem_subsampled() -> None:
    # A block whose last normalisation is zero is relu of its shortcut, and what it is given is not negative.
    module, images = make("resnet20", shape=(13, 16, 3)).double(), channels_last(2, 3, 13, 16)
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            if "norm2" in name:
                tensor.zero_()
    stem = F.relu(F.group_norm(F.conv2d(images, module.conv.weight, padding=1), 2))
    features = F.pad(stem[:, :, ::4, ::4].mean(dim=(2, 3)), (0, 48))
    torch.testing.assert_close(module(images), module.out(features), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "block", "blocks"),
    [
        ("resnet18", "BasicBlock", [2, 2, 2, 2]),
        ("resnet34", "BasicBlock", [3, 4, 6, 3]),
        ("resnet50", "Bottleneck", [3, 4, 6, 3]),
    ],
)
def test_resnets_are_torchvisions_with_a_cifar_stem_and_group_normalisation(
    name: str, block: str, blocks: list[int]
) -> None:
    from torchvision.models import resnet

    with keyed_generator(torch.Generator().manual_seed(0)):
        kind = getattr(resnet, block)
        theirs = resnet.ResNet(kind, blocks, num_classes=5, norm_layer=partial(nn.GroupNorm, 4))
        theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    ours = make(name, groups=4)
    theirs_layout = layout_of(theirs)
    shapes = layout_of(ours).shapes
    assert theirs_layout.shapes == shapes
    theta = theta_of(ours).double()
    images = channels_last(2, 3, 16, 16)
    with torch.no_grad():
        expected = functional_call(theirs.double(), theirs_layout.views(theta), (images,))
        torch.testing.assert_close(ours.double()(images), expected, rtol=1e-10, atol=1e-12)


def test_resnet18_imagenet_is_torchvisions() -> None:
    from torchvision.models import resnet18

    for norm, layer in (("batch", nn.BatchNorm2d), ("none", nn.Identity), ("group", partial(nn.GroupNorm, 2))):
        with keyed_generator(initial_generator(3)):
            theirs = resnet18(num_classes=5, norm_layer=layer)
        ours = make("resnet18_imagenet", seed=3, norm=norm)
        assert torch.equal(theta_of(ours), theta_of(theirs))
        images = channels_last(2, 3, 64, 64)
        torch.testing.assert_close(ours.double()(images), theirs.double()(images), rtol=1e-10, atol=1e-12)


def test_resnet18_imagenet_of_grey_images_keeps_its_initialisation() -> None:
    weight = make("resnet18_imagenet", (32, 32, 1)).conv1.weight
    assert weight.shape == (64, 1, 7, 7)
    assert weight.std().item() == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.05)  # He et al. 2015, of the outputs


def test_resnet8_with_silent_blocks_is_its_stem_subsampled() -> None:
    module, images = make("resnet8", shape=(13, 16, 3), width=6).double(), channels_last(2, 3, 13, 16)
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            if "norm2" in name:
                tensor.zero_()
    stem = F.relu(F.group_norm(F.conv2d(images, module.conv.weight, padding=1), 2))
    features = F.pad(stem[:, :, ::4, ::4].mean(dim=(2, 3)), (0, 18))
    torch.testing.assert_close(module(images), module.out(features), rtol=1e-11, atol=1e-13)


def test_wide_resnet_normalises_first() -> None:
    module, images = make("wide_resnet", depth=16, width=2, groups=4).double(), channels_last(2, 3, 13, 16)
    tensors = dict(module.named_parameters())

    def normal(x: Tensor, name: str) -> Tensor:
        return F.relu(F.group_norm(x, 4, tensors[f"{name}.weight"], tensors[f"{name}.bias"]))

    with torch.no_grad():
        x = F.conv2d(images, tensors["conv.weight"], padding=1)
        for stage, block in np.ndindex(3, 2):
            name, stride = f"stages.{stage}.{block}", 2 if stage and not block else 1
            z = normal(x, f"{name}.norm1")
            hidden = F.conv2d(z, tensors[f"{name}.conv1.weight"], stride=stride, padding=1)
            hidden = F.conv2d(normal(hidden, f"{name}.norm2"), tensors[f"{name}.conv2.weight"], padding=1)
            beside = F.conv2d(z, tensors[f"{name}.shortcut.weight"], stride=stride) if block == 0 else x
            x = hidden + beside
        logits = normal(x, "norm").mean(dim=(2, 3)) @ module.out.weight.T + module.out.bias
        torch.testing.assert_close(module(images), logits, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("depth", [17, 12])
def test_a_wide_resnet_has_whole_blocks(depth: int) -> None:
    low = {17: 16, 12: 10}[depth]
    with pytest.raises(InputError, match=rf"^depth = {depth}: must be 6 n \+ 4, such as {low} or {low + 6}"):
        WideResNet(depth=depth)


@pytest.mark.parametrize(
    ("model", "groups"),
    [
        (ResNet20, 32),
        (ResNet20, 3),
        (ResNet18, 128),
        (ResNet18ImageNet, 3),
        (ResNet8, 3),
        (ResNet34, 3),
        (ResNet50, 128),
        (WideResNet, 32),
    ],
)
def test_groups_must_divide_the_channels(model: type[Model], groups: int) -> None:
    with pytest.raises(InputError, match=r"^groups = \d+: must divide (16|64)"):
        model(groups=groups)


def test_groups_of_a_narrow_resnet20_must_divide_its_own_channels() -> None:
    assert ResNet20(channels=6, groups=3).groups == 3
    with pytest.raises(InputError, match=r"^groups = 8: must divide 4"):
        ResNet20(channels=4, groups=8)


def test_an_unknown_name_lists_the_models() -> None:
    with pytest.raises(InputError, match=r"did you mean 'resnet18'\? there are .*cnn, .*resnet20"):
        find(Model, "resnet19")
