"""Sequences on every engine, and through a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fedsam import Run, simulate
from fedsam.federated.round_loop import Simulation
from fedsam.models.initialise import Form
from fedsam.models.lstm import LSTM
from fedsam.models.transformer import Transformer
from fedsam.params import theta_of
from tests.support.discovered import ENGINES
from tests.support.every_engine import (
    AT_ONCE,
    EVERY_ENGINE,
    collected,  # noqa: F401
    on,
    same_everywhere,
    stopped_and_resumed,
    weights,
)
from tests.support.flower_grid import inside_flower  # noqa: F401
from tests.support.texts import T, V

pytestmark = EVERY_ENGINE


def described(**changes: Any) -> Run:
    keys = {
        **AT_ONCE,
        "data.name": "tests.support.texts:Texts",
        "model.name": "transformer",
        "model.width": 8,
        "model.dropout": 0.1,
        "client.batch_size": 3,
        "client.lr": 0.1,
        "cohort": 4,
    }
    return Run.from_keys(keys | changes)


def test_a_transformer_is_the_same_on_every_engine() -> None:
    pytest.importorskip("ray")
    same_everywhere(described(), 5)


@pytest.mark.parametrize(("data", "model"), [("Texts", "lstm"), ("Moods", "lstm"), ("Moods", "transformer")])
def test_blocks_give_the_weights_of_the_loop(data: str, model: str) -> None:
    run = described(**{"data.name": f"tests.support.texts:{data}", "model.name": model})
    loop, cohort = on("loop", run), on("cohort", run)
    assert cohort.engine == "cohort"
    assert float((weights(loop) - weights(cohort)).abs().max()) <= 1e-10


@pytest.mark.parametrize("engine", ENGINES)
def test_a_resumed_run_ends_in_the_same_bytes(tmp_path: Path, engine: str) -> None:
    run = described(**{"engine.name": engine})
    whole = simulate(run.replace(out=str(tmp_path / "whole")))
    assert stopped_and_resumed(run, tmp_path / "stopped", 1).digest == whole.digest


FORM = Form(torch.arange(2 * T).view(2, T) % V, (T, V), (T,), V, V)


@pytest.mark.parametrize("model", [LSTM(width=5), Transformer(width=8)])
def test_a_place_sees_nothing_of_what_comes_after_it(model: LSTM | Transformer) -> None:
    module = model.module((T,), V, 0, FORM).double().eval()
    tokens = torch.arange(T)[None] % V
    for place in range(T - 1):
        later = tokens.clone()
        later[:, place + 1 :] = (later[:, place + 1 :] + 3) % V
        one, other = module(tokens), module(later)
        assert torch.allclose(one[:, : place + 1], other[:, : place + 1], atol=1e-14)
        assert not torch.allclose(one[:, place + 1], other[:, place + 1], atol=1e-6)


def test_a_transformer_is_that_of_torch() -> None:
    """Its blocks against torch's encoder layers, norm first, with a causal mask."""
    module = Transformer(width=8, heads=2, depth=1).module((T,), V, 0, FORM).double().eval()
    with torch.random.fork_rng(devices=[]):
        layer = torch.nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True).double()
    names = {
        "self_attn.in_proj_": "attention.joint.",
        "self_attn.out_proj.": "attention.out.",
        "linear1.": "wide.",
        "linear2.": "narrow.",
        "norm1.": "first.",
        "norm2.": "second.",
    }
    block = module.encoder.blocks[0].state_dict()
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            tensor.copy_(torch.sin(torch.arange(tensor.numel(), dtype=torch.float64) + len(name)).view(tensor.shape))
        for theirs, ours in names.items():
            for kind in ("weight", "bias"):
                layer.state_dict()[theirs + kind].copy_(block[ours + kind])
    x = torch.sin(torch.arange(2.0 * T * 8).double()).view(2, T, 8)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(T, dtype=torch.float64)
    assert torch.allclose(module.encoder.blocks(x), layer(x, src_mask=mask, is_causal=True), atol=1e-12)


def test_initial_weights_are_keyed() -> None:
    one, again, other = (theta_of(Simulation(described(seed=seed)).context.module) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
