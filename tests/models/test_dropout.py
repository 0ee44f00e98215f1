"""Dropout and its relatives: the right rate, keyed, blind to padding, and the formulas of torch around the mask."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional as F  # noqa: N812
from torchvision.ops import StochasticDepth

from fedsam.models.dropout import KeyedDraws, keys
from fedsam.models.initialise import keyed_generator


def key(seed: int = 0, round: int = 0, client: int = 0, step: int = 0) -> Tensor:
    return torch.from_numpy(keys(seed, round, client, step + 1)[step])


def under(draw: Callable[[], Any], given: Tensor | None = None) -> Any:
    """What is drawn with the global generator out of reach."""
    with keyed_generator(None), KeyedDraws(key() if given is None else given):
        return draw()


def mask(shape: tuple[int, ...], p: float = 0.5, given: Tensor | None = None, calls: int = 0) -> Tensor:
    """Where dropout keeps."""
    ones = torch.ones(shape)

    def draw() -> Tensor:
        for _ in range(calls):
            F.dropout(ones, p)
        return F.dropout(ones, p) != 0

    found: Tensor = under(draw, given)
    return found


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_the_rate_is_right_everywhere(p: float) -> None:
    kept = mask((64, 80, 96), p).double()
    assert abs(float(kept.mean()) - (1 - p)) < 5 * math.sqrt(p * (1 - p) / kept.numel())
    for over in ((0, 1), (1, 2), (0, 2), (0,), (1,), (2,)):
        rates = kept.mean(dim=over)
        variance = p * (1 - p) * rates.numel() / kept.numel()
        assert abs(float((rates - (1 - p)).square().mean()) / variance - 1) < 8 / math.sqrt(rates.numel())


def test_masks_of_other_keys_and_calls_are_independent() -> None:
    others = [
        mask((40, 50), given=key(seed=1)),
        mask((40, 50), given=key(round=1)),
        mask((40, 50), given=key(client=1)),
        mask((40, 50), given=key(step=1)),
        mask((40, 50), calls=1),
        mask((40, 50), calls=2),
        mask((41, 51))[1:, 1:],
        mask((2, 40, 50))[1],
        mask((50, 40)).T,
    ]
    masks = torch.stack([mask((40, 50)), *others]).flatten(1).double()
    apart = torch.corrcoef(masks) - torch.eye(len(masks))
    assert float(apart.abs().max()) < 5 / math.sqrt(2000)


def test_neighbours_in_a_mask_are_independent() -> None:
    kept = mask((30, 40, 50)).double() - 0.5
    for dim in range(3):
        for lag in (1, 2, 3, 8, 16):
            pairs = kept.narrow(dim, lag, kept.shape[dim] - lag) * kept.narrow(dim, 0, kept.shape[dim] - lag)
            assert abs(float(pairs.mean())) * 4 < 5 / math.sqrt(pairs.numel())


def test_the_same_key_gives_the_same_bits_and_leaves_global_state_alone() -> None:
    before = torch.random.get_rng_state()
    assert torch.equal(mask((3, 4)), mask((3, 4)))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_a_longer_dimension_begins_with_the_mask_of_the_shorter(dim: int) -> None:
    """So a batch that is filled up has the masks of the batch, whichever dimension is the batch's."""
    shape = [6, 7, 8]
    long, shape[dim] = mask((6, 7, 8)), 4
    assert torch.equal(long.narrow(dim, 0, 4), mask(tuple(shape)))


def test_a_block_has_the_masks_of_its_clients() -> None:
    x = torch.ones(3, 5, 8)
    each = torch.stack([key(client=client) for client in range(3)])

    def dropped(x: Tensor, key: Tensor) -> Tensor:
        with KeyedDraws(key):
            return F.dropout(x, 0.3) + StochasticDepth(0.5, "row")(x) + F.feature_alpha_dropout(x, 0.2, True)

    alone = torch.stack([dropped(x[client], each[client]) for client in range(3)])
    assert torch.equal(vmap(dropped)(x, each), alone)
    assert not torch.equal(alone[0], alone[1])


X = torch.linspace(-2.0, 2.0, 4 * 6 * 10).view(4, 6, 10)

RELATIVES: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "functional": (lambda x: F.dropout(x, 0.25, True), (4, 6, 10)),
    "layer": (nn.Dropout(0.25), (4, 6, 10)),
    "in place": (lambda x: nn.Dropout(0.25, inplace=True)(x.clone()), (4, 6, 10)),
    "1d": (nn.Dropout1d(0.25), (4, 6, 1)),
    "2d": (lambda x: nn.Dropout2d(0.25)(x[..., None])[..., 0], (4, 6, 1)),
    "depth of a row": (StochasticDepth(0.25, "row"), (4, 1, 1)),
    "depth of a batch": (StochasticDepth(0.25, "batch"), (1, 1, 1)),
    "timm": (lambda x: x * x.new_empty((4, 1, 1)).bernoulli_(0.75) / 0.75, (4, 1, 1)),
    "transformers": (lambda x: x / 0.75 * (0.75 + torch.rand((4, 1, 1), dtype=x.dtype)).floor_(), (4, 1, 1)),
    "bernoulli": (lambda x: x * torch.bernoulli(torch.full((4, 6, 10), 0.75)) / 0.75, (4, 6, 10)),
    "uniform_": (lambda x: x * (torch.empty(4, 6, 10).uniform_(-1, 1) > -0.5) / 0.75, (4, 6, 10)),
    "rand_like": (lambda x: x * (torch.rand_like(x) >= 0.25) / 0.75, (4, 6, 10)),
}


@pytest.mark.parametrize("name", RELATIVES)
def test_what_is_kept_is_scaled_and_what_is_dropped_is_zero(name: str) -> None:
    dropping, shape = RELATIVES[name]
    found = {"kept": 0, "dropped": 0}
    for step in range(60):
        given = key(step=step)
        out = under(lambda: dropping(X), given)
        kept = out != 0
        assert torch.allclose(out[kept], X[kept] / 0.75)
        pattern = kept.double()
        for dim, size in enumerate(shape):  # shared along dimensions where the mask has one element
            if size == 1:
                assert torch.equal(pattern, pattern.narrow(dim, 0, 1).expand_as(pattern))
                pattern = pattern.narrow(dim, 0, 1).expand_as(pattern)
        found["kept"] += int(kept.sum())
        found["dropped"] += int((~kept).sum())
    total, free = sum(found.values()), 60 * math.prod(shape)
    assert abs(found["dropped"] / total - 0.25) < 5 * math.sqrt(0.25 * 0.75 / free)


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = under(lambda: F.alpha_dropout(x, 0.3, True))
    assert abs(float(out.mean())) < 0.02
    assert abs(float(out.var()) - 1) < 0.02
    dropped = out[out.sub(out.mode().values).abs() < 1e-9]
    assert abs(len(dropped) / len(out) - 0.3) < 0.01


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_nothing_and_everything(p: float) -> None:
    assert torch.equal(under(lambda: F.dropout(X, p, True)), X * (1 - p))
    assert torch.equal(under(lambda: F.dropout(X, 0.4, False)), X)


@pytest.mark.parametrize("form", ["causal", "bool mask", "float mask", "plain", "grouped"])
def test_attention_drops_its_probabilities(form: str) -> None:
    """Q = K = whatever, V the identity: the output is the matrix of probabilities."""
    rng = torch.Generator().manual_seed(0)
    q, k = (torch.randn(2, heads, 5, 5, generator=rng) for heads in (4, 2 if form == "grouped" else 4))
    v = torch.eye(5).expand_as(k)
    lower = torch.ones(5, 5).tril().bool()
    given: dict[str, Any] = {
        "causal": {"is_causal": True},
        "bool mask": {"attn_mask": lower},
        "float mask": {"attn_mask": torch.linspace(0, 1, 25).view(5, 5)},
        "plain": {"scale": 0.3},
        "grouped": {"enable_gqa": True},
    }[form]
    whole = F.scaled_dot_product_attention(q, k, v, **given)
    out = under(lambda: F.scaled_dot_product_attention(q, k, v, dropout_p=0.4, **given))
    kept = out != 0
    assert torch.allclose(out[kept], whole[kept] / 0.6, atol=1e-6)
    rate = float((kept & (whole > 0)).sum() / (whole > 0).sum())
    assert abs(rate - 0.6) < 5 * math.sqrt(0.24 / 100)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("both", [False, True])
def test_recurrent_layers_drop_between_them_alone(kind: Any, both: bool) -> None:
    way = {"batch_first": True, "bidirectional": both}
    with torch.random.fork_rng(devices=[]):
        net = kind(3, 4, 2, dropout=0.5, **way)
    first, second = kind(3, 4, 1, **way), kind(8 if both else 4, 4, 1, **way)
    for name, tensor in net.state_dict().items():
        part = first if "l0" in name else second
        part.state_dict()[name.replace("l1", "l0")].copy_(tensor)
    x = torch.linspace(-1, 1, 2 * 7 * 3).view(2, 7, 3)
    out, state = under(lambda: net(x))
    between, state_0 = first(x)
    expected, state_1 = second(under(lambda: F.dropout(between, 0.5)))
    assert torch.allclose(out, expected)
    wanted = zip(*((one,) if isinstance(one, Tensor) else one for one in (state_0, state_1)), strict=True)
    for found, parts in zip((state,) if isinstance(state, Tensor) else state, wanted, strict=True):
        assert torch.allclose(found, torch.cat(parts))


def test_attention_layers_are_reached_inside() -> None:
    with torch.random.fork_rng(devices=[]):
        layer = nn.TransformerEncoderLayer(10, 2, 12, dropout=0.2)
    with keyed_generator(None), KeyedDraws(key()) as drawn:
        layer(X)
    assert drawn.calls == 4


def test_own_generators_are_kept() -> None:
    own = under(lambda: torch.rand(3, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(own, torch.rand(3, generator=torch.Generator().manual_seed(1)))


def test_keys_are_of_the_round_the_client_and_the_step() -> None:
    found = np.stack([keys(*of, 3) for of in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]).reshape(-1, 2)
    assert len({tuple(pair) for pair in found.tolist()}) == 12
    assert np.array_equal(keys(0, 0, 0, 2), keys(0, 0, 0, 3)[:2])
