"""Networks of transformers and peft, from configurations with random weights, fine-tuned by LoRA."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from fedsam import Run

GPT = {
    "data.name": "tests.support.texts:Texts",
    "model.name": "transformers:GPT2LMHeadModel",
    "model.n_layer": 2,
    "model.n_embd": 8,
    "model.n_head": 2,
    "model.n_positions": 8,
    "model.bos_token_id": 0,
    "model.eos_token_id": 0,
}
VIT = {
    "data.name": "tests.support.ragged:Ragged",
    "model.name": "transformers:ViTForImageClassification",
    "model.image_size": 8,
    "model.patch_size": 4,
    "model.hidden_size": 8,
    "model.num_hidden_layers": 2,
    "model.num_attention_heads": 2,
    "model.intermediate_size": 16,
    "model.hidden_dropout_prob": 0.1,
    "model.attention_probs_dropout_prob": 0.1,
}


def peft_gpt(vocab_size: int, rank: int = 2) -> nn.Module:
    """A model of peft's."""
    from peft import LoraConfig, get_peft_model
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=vocab_size, n_layer=2, n_embd=8, n_head=2, n_positions=8)
    config.bos_token_id = config.eos_token_id = 0
    lora = LoraConfig(r=rank, target_modules=["c_attn"], lora_dropout=0.1, fan_in_fan_out=True)
    return get_peft_model(GPT2LMHeadModel(config), lora)


LORA = {"model.adapter": "lora", "model.rank": 2, "model.alpha": 2.0}
STOCK: dict[str, tuple[dict[str, Any], int]] = {
    # of each block attention's 8 to 24 and 8 to 8, and 8 to 32 and 32 to 8
    "gpt": (GPT | LORA | {"model.trained": "none"}, 2 * 2 * (32 + 16 + 40 + 40)),
    # of each block q, k, v and o, 8 to 8, and 8 to 16 and 16 to 8; the classifier of 8 to 3
    "vit": (VIT | LORA, 2 * 2 * (4 * 16 + 24 + 24) + 27),
    "peft": ({"data.name": "tests.support.texts:Texts", "model.name": f"{__name__}:peft_gpt"}, 2 * 2 * (8 + 24)),
}


def stock(name: str, **changes: Any) -> Run:
    pytest.importorskip("transformers")
    if name == "peft":
        pytest.importorskip("peft")
    keys = {
        "client.name": "asam",
        "client.batch_size": 4,
        "client.lr": 0.01,
        "client.rho": 0.05,  # with much larger steps rounding grows by itself
        "server.name": "scaffold",
        "cohort": 3,
        "rounds": 2,
        "engine.name": "loop",
        "engine.precision": "fp64",
        "engine.threads": 1,
    }
    return Run.from_keys(keys | STOCK[name][0] | changes)
