"""A ViT and a small GPT, from the library's configurations with random weights, fine-tuned by LoRA on 20 clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from fedsam import Run, simulate
from fedsam.federated.round_loop import Simulation
from tests.support.every_engine import stopped_and_resumed

CLIENTS, COHORT, RANK = 20, 3, 4
COMMON: dict[str, Any] = {
    "data.clients": CLIENTS,
    "cohort": COHORT,
    "model.adapter": "lora",
    "model.rank": RANK,
    "model.initializer_range": 0.2,  # large, so that what is frozen tells inputs apart
    "client.name": "asam",
    "client.base": "adamw",
    "client.rho": 0.05,
    "client.lr": 0.01,
    "client.batch_size": 16,
    "average.name": "swa",
    "average.cycle": 1,
    "average.start": 0.5,
    "save": "trained",
    "engine.name": "loop",
    "engine.threads": 1,
}
VIT = {
    "data.name": "digits",
    "data.partition": "iid",
    "model.name": "transformers:ViTForImageClassification",
    "model.image_size": 8,
    "model.patch_size": 2,
    "model.num_channels": 1,
    "model.hidden_size": 32,
    "model.num_hidden_layers": 2,
    "model.num_attention_heads": 2,
    "model.intermediate_size": 64,
    "rounds": 6,
}
GPT = {
    "data.name": "pydoc",
    "data.partition": "grouped",
    "model.name": "transformers:GPT2LMHeadModel",
    "model.trained": "none",  # the last layer is the embedding
    "model.n_layer": 2,
    "model.n_embd": 32,
    "model.n_head": 2,
    "model.n_positions": 64,
    "model.bos_token_id": 0,
    "model.eos_token_id": 0,
    "client.epochs": 1,
    "rounds": 2,
}
# of each of two blocks q, k, v and o, 32 to 32, and 32 to 64 and 64 to 32; the classifier of 32 to 10
IN_VIT = 2 * RANK * (4 * 64 + 2 * 96) + 330
# of each of two blocks 32 to 96, 32 to 32, 32 to 128 and 128 to 32
IN_GPT = 2 * RANK * (128 + 64 + 160 + 160)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("keys", "adapters", "score", "better"),
    [
        (VIT, IN_VIT, "test_accuracy", lambda found: found > 0.5),  # 0.1 by chance
        (GPT, IN_GPT, "test_perplexity", lambda found: found < 60),  # 97 where all characters are alike
    ],
    ids=["vit", "gpt"],
)
def test_a_stock_network_learns_by_its_adapters_alone(
    tmp_path: Path, keys: dict[str, Any], adapters: int, score: str, better: Any
) -> None:
    pytest.importorskip("transformers")
    run = Run.from_keys({**COMMON, **keys})
    result = simulate(run.replace(out=str(tmp_path / "whole")))
    assert better(result.metrics[-1][score])
    simulation = Simulation(run)
    assert simulation.federation.clients == CLIENTS
    assert simulation.context.layout.total == adapters < sum(p.numel() for p in simulation.context.module.parameters())
    for record in result.metrics:  # float32, from and to each client of each round
        assert record["bytes_up"] == record["bytes_down"] == record["round"] * COHORT * 4 * adapters
    state = safetensors.torch.load_file(tmp_path / "whole" / "model.safetensors")
    assert sum(tensor.numel() for tensor in state.values()) == adapters
    assert stopped_and_resumed(run, tmp_path / "stopped", run.rounds // 2).digest == result.digest
    files = [tmp_path / name / "model.safetensors" for name in ("whole", "stopped")]
    assert files[0].read_bytes() == files[1].read_bytes()
