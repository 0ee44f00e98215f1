"""Dropout, stochastic depth and other draws of a forward pass, keyed by (seed, round, client, step).

Shapes: T local steps, N tokens of queries, S of keys, E channels of a head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from fedsam.rng import stream

WORD = 2**32
GOLDEN = 0x9E3779B9  # 2^32 over the golden ratio: multiples of it are far apart
ROUNDS = (16, 0x7FEB352D), (15, 0x846CA68B)
"""Shift and factor of each round of `lowbias32` (Wellons, "Prospecting for hash functions", 2018)."""
DRAWS, ATTENDS = "draws_keyed", "attends"
"""Attributes of a module whose forward pass in training draws, or has attention of torch's."""
ALPHA = 1.7580993408473766  # λ α of SELU (Klambauer et al., NeurIPS 2017)


def keys(seed: int, round: int, client: int, steps: int) -> np.ndarray:
    """The key of each local step, int32 [T, 2]."""
    words = stream(seed, "masks", round, client).integers(WORD, size=(steps, 2), dtype=np.uint32)
    return words.view(np.int32)


def draws(module: torch.nn.Module) -> bool:
    """Whether its forward pass in training draws, as was found when it was built."""
    return bool(vars(module).get(DRAWS, False))


def attends(module: torch.nn.Module) -> bool:
    """Whether it has attention of torch's, as was found when it was built."""
    return bool(vars(module).get(ATTENDS, False))


class KeyedDraws(TorchFunctionMode):
    """Inside, what torch's functions draw in this thread is a function of a key, of the number of the call that draws
    and of the element's coordinates (i₁, ..., i_n) in its tensor, and global RNG state is neither read nor set:

        word = h(h(t₁[i₁] + ... + t_{n−1}[i_{n−1}] + key₁ + call · φ) ⊕ key₂ + t_n[i_n]),   u = word / 2³²

    with h two rounds of an integer hash and t_d fixed tables of words. So the mask is a pure function of tensors: the
    same on every device and under `torch.func.vmap` with a key for each client; and as coordinates count and not the
    place in memory, it does not change where a batch is filled up. Dropout keeps where u ≥ p, to 32 bits.

    Dropout of all kinds, that of attention and between layers of an LSTM, GRU or RNN, `rand`, `bernoulli` and
    `uniform_` are drawn so, and with them stochastic depth of torchvision, timm and transformers. Other draws, such as
    `randn`, go past it, and those with a generator of their own keep it.

    Within a local step the key is the same for each pass over its mini-batch, so the batch's loss is one function of
    the weights: SAM's second pass has the masks of the first, as in the code of Foret et al., ICLR 2021 (whose two
    passes share one `prng_key`), and ρ = 0 stays the base optimiser. In PyTorch's ports they differ by accident.

    Args:
        key: [2], int32.
    """

    def __init__(self, key: Tensor) -> None:
        super().__init__()
        self.key, self.calls, self.attends = key, 0, False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _IN_PYTHON:
            with self:
                return _opened(func)(*args, **kwargs)
        self.attends |= func is F.scaled_dot_product_attention
        keyed = _KEYED.get(func)
        if keyed is None or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        return keyed(self, *args, **kwargs)

    def words(self, shape: Sequence[int], device: torch.device | str | None = None) -> Tensor:
        """The next call's words, int32."""
        self.calls += 1
        key = self.key if device is None else self.key.to(device)
        word = key[0] + _signed(self.calls * GOLDEN)
        tables = [_table(place, size, str(key.device)) for place, size in enumerate(shape)]
        for table in tables[:-1]:
            word = word[..., None] + table
        word = _hashed(word) ^ key[1]
        return _hashed(word[..., None] + tables[-1] if tables else word)

    def uniform(self, shape: Sequence[int], dtype: torch.dtype | None, device: Any = None) -> Tensor:
        """Numbers from 0 to 1, to 24 bits."""
        dtype = dtype or torch.get_default_dtype()
        numbers = ((self.words(shape, device) >> 8) & 0xFFFFFF).to(torch.float32) * 2.0**-24
        return numbers.to(dtype)

    def kept(self, like: Tensor, shape: Sequence[int], p: float) -> Tensor:
        """1 with probability 1 − p, else 0; of the type of `like`."""
        return (self.words(shape, like.device) >= _bound(p)).to(like.dtype)

    def dropped(self, x: Tensor, p: float, train: bool, shape: Sequence[int] | None = None) -> Tensor:
        """x · mask / (1 − p), the mask of this shape."""
        if not train or p == 0:
            return x
        if p >= 1:
            return x * 0.0
        return x * (self.kept(x, x.shape if shape is None else shape, p) * (1 / (1 - p)))

    def alpha_dropped(self, x: Tensor, p: float, train: bool, shape: Sequence[int] | None = None) -> Tensor:
        """Dropout to −α' that keeps mean and variance (Klambauer et al., NeurIPS 2017, section 3)."""
        if not train or p == 0:
            return x
        if p >= 1:
            return x * 0.0
        gain = 1 / math.sqrt((ALPHA**2 * p + 1) * (1 - p))
        mask = self.kept(x, x.shape if shape is None else shape, p)
        return x * (mask * gain) + ((mask - 1) * (ALPHA * gain) + ALPHA * gain * p)


def _signed(word: int) -> int:
    word %= WORD
    return word - WORD if word >= WORD // 2 else word


def _bound(p: float) -> int:
    """The least word that is kept."""
    return min(round(p * WORD), WORD - 1) - WORD // 2


def _hashed(word: Tensor) -> Tensor:
    for shift, factor in ROUNDS:  # the shift carries the sign along, which loses one bit and is one pass less
        word = (word ^ (word >> shift)) * _signed(factor)
    return word


@lru_cache(maxsize=512)
def _table(place: int, size: int, device: str) -> Tensor:
    """t_d, the words of the coordinates 0 ... size − 1 of one dimension, int32: those of a shorter one come first."""
    word = (np.arange(size, dtype=np.uint64) * 0xD1342543DE82EF95 + (place + 1) * GOLDEN) & np.uint64(WORD - 1)
    for shift, factor in (*ROUNDS, (16, 1)):
        word = ((word ^ (word >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(WORD - 1)
    return torch.from_numpy(word.astype(np.uint32).view(np.int32)).to(device)


@cache
def _opened(function: Any) -> Callable[..., Any]:
    """A function of torch.nn.functional that does its work instead of asking a mode to: what it calls is seen then."""
    asks = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    names = function.__globals__ | dict.fromkeys(asks, lambda *_: False)
    opened = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    opened.__kwdefaults__ = function.__kwdefaults__
    return opened


def _written(drawn: Tensor, to: Tensor) -> Tensor:
    """`to`, overwritten; under vmap a tensor that all clients share cannot be, and stochastic depth goes on with the
    result alone.
    """
    try:
        return to.copy_(drawn)
    except RuntimeError:
        return drawn


def _dropout(mode: KeyedDraws, input: Tensor, p: float = 0.5, train: bool = True) -> Tensor:
    return mode.dropped(input, p, train)


def _feature_dropout(mode: KeyedDraws, input: Tensor, p: float = 0.5, train: bool = True) -> Tensor:
    return mode.dropped(input, p, train, _features(input))


def _alpha_dropout(mode: KeyedDraws, input: Tensor, p: float = 0.5, train: bool = True) -> Tensor:
    return mode.alpha_dropped(input, p, train)


def _feature_alpha_dropout(mode: KeyedDraws, input: Tensor, p: float = 0.5, train: bool = True) -> Tensor:
    return mode.alpha_dropped(input, p, train, _features(input))


def _features(x: Tensor) -> tuple[int, ...]:
    return (*x.shape[:2], *[1] * (x.dim() - 2))


def _in_place(keyed: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def written(mode: KeyedDraws, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return _written(keyed(mode, input, *args, **kwargs), input)

    return written


def _rand(mode: KeyedDraws, *sizes: Any, size: Any = (), dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
    given = sizes or (size,)
    shape = given[0] if len(given) == 1 and not isinstance(given[0], int) else given
    return mode.uniform(tuple(shape), dtype, device or torch.get_default_device())


def _rand_like(mode: KeyedDraws, input: Tensor, *, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
    return mode.uniform(input.shape, dtype or input.dtype, device or input.device)


def _uniform_(mode: KeyedDraws, self: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    return _written(low + (high - low) * mode.uniform(self.shape, self.dtype, self.device), self)


def _bernoulli(mode: KeyedDraws, input: Tensor, p: float | None = None) -> Tensor:
    return _chosen(mode, input, input if p is None else p)


def _bernoulli_(mode: KeyedDraws, self: Tensor, p: Tensor | float = 0.5) -> Tensor:
    return _written(_chosen(mode, self, p), self)


def _chosen(mode: KeyedDraws, like: Tensor, p: Tensor | float) -> Tensor:
    if isinstance(p, Tensor):
        return (mode.uniform(like.shape, torch.float32, like.device) < p).to(like.dtype)
    return mode.kept(like, like.shape, 1 - p)


def _attention(
    mode: KeyedDraws,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(Q Kᵀ · scale + mask), dropped out, times V; with Q [..., N, E] and K and V [..., S, E]."""
    if not dropout_p:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    if enable_gqa:
        key, value = (part.repeat_interleave(query.shape[-3] // part.shape[-3], dim=-3) for part in (key, value))
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -math.inf)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return mode.dropped(scores.softmax(dim=-1), dropout_p, True) @ value


def _recurrent(
    layered: Callable[..., Any],
    mode: KeyedDraws,
    input: Tensor,
    hx: Any,
    flat: Sequence[Tensor],
    has_biases: Any,
    layers: int,
    dropout: float,
    train: bool,
    *ways: bool,
) -> Any:
    """An LSTM, GRU or RNN layer by layer, with dropout between layers."""
    rest = has_biases, layers, dropout, train, *ways
    if not (train and dropout) or layers == 1 or not isinstance(has_biases, bool):  # packed sequences go past it
        return layered(input, hx, flat, *rest)
    states = hx if isinstance(hx, tuple | list) else (hx,)
    per, parts = len(flat) // layers, [torch.chunk(state, layers) for state in states]
    found = []
    for layer in range(layers):
        own = tuple(part[layer] for part in parts)
        own_weights = flat[layer * per : (layer + 1) * per]
        given = own if len(own) > 1 else own[0]
        input, *after = layered(input, given, own_weights, has_biases, 1, 0.0, train, *ways)
        found.append(after)
        if layer + 1 < layers:
            input = mode.dropped(input, dropout, train)
    return (input, *(torch.cat(state) for state in zip(*found, strict=True)))


_IN_PYTHON = {
    F.dropout,
    F.dropout1d,
    F.dropout2d,
    F.dropout3d,
    F.alpha_dropout,
    F.feature_alpha_dropout,
    F.multi_head_attention_forward,
}
"""Functions of torch that are made of others which draw."""

_KEYED: dict[Any, Callable[..., Any]] = {
    torch.dropout: _dropout,
    torch.dropout_: _in_place(_dropout),
    torch.feature_dropout: _feature_dropout,
    torch.feature_dropout_: _in_place(_feature_dropout),
    torch.alpha_dropout: _alpha_dropout,
    torch.alpha_dropout_: _in_place(_alpha_dropout),
    torch.feature_alpha_dropout: _feature_alpha_dropout,
    torch.feature_alpha_dropout_: _in_place(_feature_alpha_dropout),
    torch.rand: _rand,
    torch.rand_like: _rand_like,
    Tensor.uniform_: _uniform_,
    torch.bernoulli: _bernoulli,
    Tensor.bernoulli: _bernoulli,
    Tensor.bernoulli_: _bernoulli_,
    F.scaled_dot_product_attention: _attention,
    **{one: partial(_recurrent, one) for one in (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)},
}
