"""The flat vector: round trips, gradients, vmap, tied and constant parameters, the saved state."""

import math

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F  # noqa: N812

from fedsam.errors import InputError
from fedsam.params import Layout, layout_of, named, theta_of


class Tangled(nn.Module):
    """A tied weight, a constant parameter, a buffer, and of both kinds of parameters one that is not contiguous."""

    def __init__(self, generator: torch.Generator):
        super().__init__()
        self.conv = nn.utils.skip_init(nn.Conv2d, 3, 4, 3, dtype=torch.float64)
        self.encode = nn.utils.skip_init(nn.Linear, 4, 4, dtype=torch.float64)
        self.frozen = nn.Parameter(torch.empty(4, 4, dtype=torch.float64).T, requires_grad=False)
        self.scale = nn.Parameter(torch.empty((), dtype=torch.float64))
        self.decode = nn.utils.skip_init(nn.Linear, 4, 4, dtype=torch.float64)
        self.decode.weight = self.encode.weight
        self.register_buffer("shift", torch.empty(4, dtype=torch.float64))
        with torch.no_grad():
            for tensor in [*self.parameters(), *self.buffers()]:
                tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
        self.conv.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.encode(self.conv(x).mean(dim=(2, 3))) @ self.frozen + self.shift)
        return self.decode(hidden) * self.scale


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(seed: int = 1) -> Tensor:
    return torch.randn(5, 3, 6, 6, generator=rng(seed), dtype=torch.float64)


shapes = st.lists(st.lists(st.integers(0, 4), max_size=4).map(tuple), min_size=1, max_size=6)


@given(shapes)
@settings(max_examples=50, deadline=None)
def test_flatten_and_views_are_inverse(shapes: list[tuple[int, ...]]) -> None:
    layout = Layout(tuple(f"t{i}" for i in range(len(shapes))), tuple(shapes))
    assert layout.total == sum(math.prod(shape) for shape in shapes)
    theta = torch.arange(float(layout.total))
    views = layout.views(theta)
    assert [(name, tuple(view.shape)) for name, view in views.items()] == list(
        zip(layout.names, layout.shapes, strict=True)
    )
    assert torch.equal(layout.flatten(views), theta)
    begin = 0
    for view in views.values():
        assert torch.equal(view.reshape(-1), theta[begin : begin + view.numel()])
        assert view.numel() == 0 or view.data_ptr() == theta.data_ptr() + begin * theta.element_size()
        begin += view.numel()


def test_theta_is_a_copy_in_the_order_of_named_parameters() -> None:
    module = Tangled(rng())
    theta = theta_of(module)
    names = ["scale", "conv.weight", "conv.bias", "encode.weight", "encode.bias", "decode.bias"]
    assert list(layout_of(module).names) == names
    assert torch.equal(theta, torch.cat([module.get_parameter(name).reshape(-1) for name in names]))
    assert not theta.requires_grad
    before = theta.clone()
    with torch.no_grad():
        module.encode.weight.zero_()
    assert torch.equal(theta, before)


def test_one_split_cuts_all_views() -> None:
    # A slice instead of the split would cost a vector of P zeros for each tensor in every backward pass.
    layout = Layout(("a", "b", "c"), ((2, 3), (4,), ()))
    theta = torch.zeros(layout.total, requires_grad=True)
    cuts = {view.grad_fn.next_functions[0][0] for view in layout.views(theta).values()}
    assert [cut.name() for cut in cuts] == ["SplitWithSizesBackward0"]


def test_gradient_of_theta_is_the_gradient_of_the_module() -> None:
    module, x = Tangled(rng()), images()
    labels = torch.tensor([0, 1, 2, 3, 0])
    layout = layout_of(module)
    F.cross_entropy(module(x), labels).backward()
    expected = torch.cat([module.get_parameter(name).grad.reshape(-1) for name in layout.names])

    def loss(theta: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(module, layout.views(theta), (x,)), labels)

    assert expected.abs().min() > 0
    torch.testing.assert_close(grad(loss)(theta_of(module)), expected, rtol=1e-12, atol=1e-14)


def test_vmap_over_thetas_is_one_by_one() -> None:
    module, x = Tangled(rng()), images()
    layout = layout_of(module)
    thetas = torch.randn(3, layout.total, generator=rng(2), dtype=torch.float64)

    def logits(theta: Tensor) -> Tensor:
        return functional_call(module, layout.views(theta), (x,))

    one_by_one = torch.stack([logits(theta) for theta in thetas])
    torch.testing.assert_close(vmap(logits)(thetas), one_by_one, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(vmap(logits, in_dims=1)(thetas.T.contiguous()), one_by_one, rtol=1e-12, atol=1e-14)
    with torch.no_grad():  # a tied weight takes the value of its first name under both
        for name, view in layout.views(thetas[1]).items():
            module.get_parameter(name).copy_(view)
    torch.testing.assert_close(module(x), one_by_one[1], rtol=1e-12, atol=1e-14)


def test_named_state_loads_into_another_module_and_gives_the_same_logits() -> None:
    module, other, x = Tangled(rng()), Tangled(rng(7)), images()
    layout = layout_of(module)
    theta = torch.randn(layout.total, generator=rng(3), dtype=torch.float64)
    state = named(module, theta)
    assert list(state) == list(module.state_dict())
    assert torch.equal(state["decode.weight"], state["encode.weight"])
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in state.values())
    assert (
        len({tensor.untyped_storage().data_ptr() for tensor in state.values()} | {theta.data_ptr()}) == len(state) + 1
    )
    other.load_state_dict(safetensors.torch.load(safetensors.torch.save(state)), strict=True)
    assert torch.equal(theta_of(other), theta)
    # the same parameters, written into the module itself
    expected = functional_call(module, layout.views(theta), (x,))
    torch.testing.assert_close(other(x), expected, rtol=1e-13, atol=1e-15)
    assert not torch.allclose(module(x), expected)


def test_mask_and_weights() -> None:
    layout = Layout(("a.weight", "a.bias", "weight_norm.g", "out"), ((2, 2), (2,), (1,), (3,)))
    assert layout.mask(lambda name: name == "out").tolist() == [False] * 7 + [True] * 3
    assert layout.weights().tolist() == [True] * 4 + [False] * 2 + [True] + [False] * 3
    assert layout.weights("cpu") is layout.weights(torch.device("cpu"))


def test_weights_first_asked_for_inside_transforms_can_be_used_outside() -> None:
    layout = Layout(("weight", "bias"), ((2,), (2,)))

    def inside(theta: Tensor) -> Tensor:
        return torch.where(layout.weights(theta.device), theta**2, theta).sum()

    assert vmap(grad(inside))(torch.full((3, 4), 5.0)).tolist() == [[10.0, 10.0, 1.0, 1.0]] * 3
    assert layout.weights().tolist() == [True, True, False, False]
    assert (torch.ones(4) * layout.weights()).sum() == 2


def test_flatten_names_what_does_not_fit() -> None:
    layout = Layout(("a", "b"), ((2, 3), (4,)))
    fit = {"a": torch.ones(2, 3), "b": torch.zeros(4), "other": torch.ones(1)}
    assert layout.flatten(fit).tolist() == [1.0] * 6 + [0.0] * 4
    with pytest.raises(InputError, match="no tensor 'b'"):
        layout.flatten({"a": fit["a"]})
    with pytest.raises(InputError, match=r"'a' has shape \[3, 2\], in this model it has \[2, 3\]"):
        layout.flatten({**fit, "a": torch.ones(3, 2)})


def test_layouts_compare_by_content() -> None:
    assert layout_of(Tangled(rng())) == layout_of(Tangled(rng(1))) != layout_of(nn.Linear(2, 2))
