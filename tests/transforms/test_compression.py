"""Compressions against slow oracles: what is sent, what it costs, and what becomes of what is not sent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedsam import Run, simulate
from fedsam.config import find, names
from fedsam.rng import stream
from fedsam.transforms import bits
from fedsam.transforms.base import Compression
from fedsam.transforms.none import Public
from fedsam.transforms.pipeline import RESIDUAL, Transforms
from fedsam.transforms.qsgd import QSGD
from fedsam.transforms.randk import RandomK
from fedsam.transforms.sign import Sign
from fedsam.transforms.topk import TopK

ALL = [find(Compression, name)() for name in names(Compression)]
P = 1030  # two buckets of QSGD, and a rest


def vectors(clients: int, total: int = P, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((clients, total)))


def sent(compression: Compression, delta_KP: Tensor, seed: int = 0, round: int = 0, **state: Tensor) -> Any:
    found = Transforms(compression, Public(), seed)
    return found.client(delta_KP, range(10, 10 + len(delta_KP)), round, {}, state)


@pytest.mark.parametrize("compression", ALL, ids=lambda each: each.name)
def test_a_block_is_its_clients_and_the_server_decodes_the_same(compression: Compression) -> None:
    delta_KP, transforms = vectors(3), Transforms(compression, Public(), 5)
    state = {RESIDUAL: vectors(3, seed=9)}
    block = transforms.client(delta_KP, [4, 7, 2], 3, {}, state)
    for row, client in enumerate([4, 7, 2]):
        own = {RESIDUAL: state[RESIDUAL][row : row + 1]}
        alone = transforms.client(delta_KP[row : row + 1], [client], 3, {}, own)
        assert torch.equal(alone.delta_KP[0], block.delta_KP[row])
        assert torch.equal(transforms.decode(alone.payload, [client], 3, delta_KP[0]), alone.delta_KP)


@pytest.mark.parametrize("compression", ALL, ids=lambda each: each.name)
def test_what_is_sent_and_what_is_left_is_all_there_was(compression: Compression) -> None:
    state, total_KP, sent_KP = torch.zeros(2, P, dtype=torch.float64), torch.zeros(2, P), torch.zeros(2, P)
    total_KP, sent_KP = total_KP.double(), sent_KP.double()
    for round in range(30):
        delta_KP = vectors(2, seed=round)
        found = sent(compression, delta_KP, round=round, **{RESIDUAL: state})
        total_KP, sent_KP = total_KP + delta_KP, sent_KP + found.delta_KP
        state = found.client_state.get(RESIDUAL, state)
    assert bool(found.client_state) == compression.remembers == (compression.name in ("sign", "topk"))
    if compression.remembers:
        assert torch.allclose(sent_KP + state, total_KP, atol=1e-10)
        assert 0 < (state.norm() / total_KP.norm()) < 20  # something is left, and not everything


def test_without_error_feedback_nothing_is_kept() -> None:
    delta_KP = vectors(1)
    for compression in (TopK(error_feedback=False), Sign(error_feedback=False)):
        assert not compression.remembers
        assert not sent(compression, delta_KP).client_state


def test_topk_keeps_the_largest() -> None:
    delta_KP = vectors(3)
    found = sent(TopK(share=0.013, error_feedback=False), delta_KP)
    for sent_P, delta_P in zip(found.delta_KP.tolist(), delta_KP.tolist(), strict=True):
        order = sorted(range(P), key=lambda i, delta_P=delta_P: -abs(delta_P[i]))
        chosen = set(order[: math.ceil(0.013 * P)])
        assert sent_P == [delta if i in chosen else 0.0 for i, delta in enumerate(delta_P)]


def test_signs_have_the_mean_length() -> None:
    delta_P = vectors(1)[0].tolist()
    delta_P[3] = 0.0
    found = sent(Sign(error_feedback=False), torch.tensor([delta_P], dtype=torch.float64)).delta_KP[0].tolist()
    scale = sum(map(abs, delta_P)) / P
    assert found == pytest.approx([scale if delta >= 0 else -scale for delta in delta_P], rel=1e-12)


@pytest.mark.parametrize(("levels", "bucket"), [(7, 512), (1, 100), (127, 5000), (3, 1)])
def test_qsgd_by_hand(levels: int, bucket: int) -> None:
    delta_P = vectors(1)[0].tolist()
    delta_P[:bucket] = [0.0] * min(bucket, 200) + delta_P[min(bucket, 200) : bucket]
    found = sent(QSGD(levels=levels, bucket=bucket), torch.tensor([delta_P], dtype=torch.float64), seed=3, round=2)
    lot_P = stream(3, "compression", 2, 10).random(P, dtype=np.float32).tolist()
    for i, delta in enumerate(delta_P):
        begin = i // bucket * bucket
        norm = math.sqrt(sum(x * x for x in delta_P[begin : begin + bucket]))
        level = min(math.floor(levels * abs(delta) / norm + lot_P[i]), levels) if norm else 0
        assert float(found.delta_KP[0, i]) == pytest.approx(norm * math.copysign(level, delta) / levels, abs=1e-12)


TIMES = 4000


@pytest.mark.parametrize(
    "compression", [RandomK(share=0.2), RandomK(share=0.5), QSGD(levels=1, bucket=16), QSGD(levels=3)], ids=str
)
def test_the_mean_over_many_keys_is_the_update(compression: Compression) -> None:
    """Within five standard errors in each place; and the spread is what the paper says."""
    delta_P = vectors(1, 40)[0]
    transforms = Transforms(compression, Public(), 1)
    ids = list(range(TIMES))
    found_NP = transforms.client(delta_P.expand(TIMES, -1), ids, 0, {}, {}).delta_KP
    error_P = found_NP.std(dim=0) / math.sqrt(TIMES)
    assert ((found_NP.mean(dim=0) - delta_P).abs() <= 5 * error_P + 1e-6).all()
    spread = float((found_NP - delta_P).square().sum(dim=1).mean() / delta_P.square().sum())
    if isinstance(compression, RandomK):
        assert spread == pytest.approx(1 / compression.share - 1, rel=0.1)
    elif isinstance(compression, QSGD):
        d, s = min(compression.bucket, 40), compression.levels
        assert 0.1 < spread <= min(d / s**2, math.sqrt(d) / s)


def test_draws_are_keyed_by_client_and_round() -> None:
    delta_KP = vectors(1).expand(2, -1)
    one, other = sent(RandomK(), delta_KP).delta_KP
    assert not torch.equal(one, other)
    assert torch.equal(one, sent(RandomK(), delta_KP).delta_KP[0])
    assert not torch.equal(one, sent(RandomK(), delta_KP, round=1).delta_KP[0])
    assert not torch.equal(one, sent(RandomK(), delta_KP, seed=1).delta_KP[0])


@pytest.mark.parametrize("width", bits.WIDTHS)
@pytest.mark.parametrize("count", [1, 7, 8, 61])
def test_packed_numbers_are_digits_of_one_large_number(width: int, count: int) -> None:
    codes = np.random.default_rng(count).integers(2**width, size=(2, count), dtype=np.uint8)
    found = bits.packed(torch.from_numpy(codes), width)
    for row, packed in zip(codes.tolist(), found.tolist(), strict=True):
        number = sum(code << (width * place) for place, code in enumerate(row))
        assert bytes(packed) == number.to_bytes(-(-count * width // 8), "little")
    assert torch.equal(bits.unpacked(found, width, count), torch.from_numpy(codes))


BYTES = [
    ({"compress.name": "none"}, lambda P: 4 * P),
    ({"compress.name": "topk", "compress.share": 0.03}, lambda P: 8 * math.ceil(0.03 * P)),
    ({"compress.name": "randk", "compress.share": 0.03}, lambda P: 4 * math.ceil(0.03 * P)),
    ({"compress.name": "qsgd"}, lambda P: 4 * math.ceil(P / 512) + math.ceil(P / 2)),
    ({"compress.name": "qsgd", "compress.levels": 1}, lambda P: 4 * math.ceil(P / 512) + math.ceil(P / 4)),
    ({"compress.name": "sign"}, lambda P: 4 + math.ceil(P / 8)),
]
SMALL = {"data.clients": 10, "cohort": 3, "rounds": 2, "evaluate_every": 2, "client.epochs": 1, "engine.threads": 1}


@pytest.mark.parametrize(("keys", "size"), BYTES, ids=lambda each: str(each) if isinstance(each, dict) else "")
def test_what_would_have_travelled_is_counted(keys: dict[str, Any], size: Any) -> None:
    result = simulate(Run.from_keys({**SMALL, **keys}))
    parameters = sum(tensor.numel() for tensor in result.state.values())
    assert result.metrics[-1]["bytes_up"] == 6 * size(parameters)
    assert result.metrics[-1]["bytes_down"] == 6 * 4 * parameters


def test_uploads_that_follow_from_the_update_travel_where_it_is_compressed() -> None:
    keys = {**SMALL, "server.name": "feddyn"}
    plain, signs = (simulate(Run.from_keys({**keys, "compress.name": name})) for name in ("none", "sign"))
    parameters = sum(tensor.numel() for tensor in plain.state.values())
    assert plain.metrics[-1]["bytes_up"] == 6 * 4 * parameters
    assert signs.metrics[-1]["bytes_up"] == 6 * (4 * parameters + 4 + math.ceil(parameters / 8))
