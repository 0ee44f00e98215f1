"""Second derivatives of convolutions, against torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fedsam.flatness.convolution import FastConvolution, _Convolution

KINDS: list[dict[str, Any]] = [
    {},
    {"padding": 2},
    {"stride": 2, "padding": (1, 2)},
    {"dilation": 2},
    {"groups": 2},
    {"groups": 4, "stride": (2, 1), "padding": 1},
    {"padding": "same"},
]


def second(tensors: list[Tensor], wanted: list[Tensor], **kind: Any) -> list[Tensor | None]:
    """Of a loss with x, w and b: the gradients, and their derivative along some direction."""
    x, w, *b = tensors
    y = F.conv2d(x.square() if x.requires_grad else x, w, *b, **kind).relu()
    first = torch.autograd.grad(y.pow(3).sum(), wanted, create_graph=True)
    directions = [torch.linspace(-1, 1, each.numel(), dtype=each.dtype).view_as(each) for each in wanted]
    slope = sum((one * v).sum() for one, v in zip(first, directions, strict=True))
    assert isinstance(slope, Tensor)
    return [*first, *torch.autograd.grad(slope, wanted)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("by_input", [True, False])
def test_first_and_second_derivatives_are_torchs(kind: dict[str, Any], biased: bool, by_input: bool) -> None:
    draw = torch.Generator().manual_seed(1)
    w = torch.randn(8, 4 // kind.get("groups", 1), 3, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    b = torch.randn(8, generator=draw, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 4, 9, 10, generator=draw, dtype=torch.float64, requires_grad=by_input)
    tensors = [x, w, b] if biased else [x, w]
    wanted = [each for each in tensors if each.requires_grad]
    expected = second(tensors, wanted, **kind)
    with FastConvolution():
        found = second(tensors, wanted, **kind)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-10)


def test_it_stands_in_for_layers_too_and_only_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, called = torch.nn.Conv2d(1, 1, 3), []
    apply = _Convolution.apply
    monkeypatch.setattr(_Convolution, "apply", lambda *given: called.append(1) or apply(*given))
    layer(torch.ones(1, 1, 5, 5))
    assert not called
    with FastConvolution():
        layer(torch.ones(1, 1, 5, 5))
    assert called == [1]
