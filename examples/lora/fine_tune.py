"""LoRA: a model that was trained on upright digits learns lying ones, and sends far less than all of its weights.

python examples/lora/fine_tune.py

A model of transformers is fine-tuned in the same way: model={"name": "transformers:ViTForImageClassification",
"weights": "model.safetensors", "adapter": "lora", ...}; see "Fine-tuning" in the guide on tasks.
"""

import tempfile
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import fedsam
from fedsam import Run
from fedsam.optim import SAM

digits: Any = load_digits()
images = (16 * digits.images).clip(0, 255).astype(np.uint8)
upright = fedsam.dataset((images, digits.target), clients=20, partition="iid")
lying = fedsam.dataset((np.rot90(images, axes=(1, 2)).copy(), digits.target), clients=20, alpha=1.0)

with tempfile.TemporaryDirectory() as folder:
    wide = {"name": "mlp", "width": 256}
    base = fedsam.simulate(Run(data=upright, model=wide, rounds=40, out=f"{folder}/base"), quiet=True)
    print(f"trained on upright digits: {100 * base.metrics[-1]['test_accuracy']:.1f} %")

    weights = {"weights": f"{folder}/base/model.safetensors"}
    ways = {
        "all weights": {**wide, **weights},
        "LoRA, rank 8": {**wide, **weights, "adapter": "lora", "rank": 8},
        "the last layer": {**wide, **weights, "adapter": "part", "trained": "last"},
    }
    for name, model in ways.items():
        run = Run(data=lying, model=model, client=SAM(rho=0.05), rounds=40)
        records = fedsam.simulate(run, quiet=True).metrics
        sent = sum(record["bytes_up"] for record in records) / (run.rounds * run.cohort) / 1000
        print(f"{name:16} {100 * records[-1]['test_accuracy']:5.1f} %   {sent:5.1f} kB a round from each client")
