"""Evaluation against a plain pass of the module over the whole split at once."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from fedsam import Run
from fedsam.data.synthetic import Synthetic
from fedsam.federated.round_loop import Simulation
from fedsam.measure.evaluate import BATCH, evaluate
from fedsam.params import Weights


@pytest.mark.parametrize("examples", [BATCH - 1, BATCH, 2 * BATCH + 77])
def test_loss_and_accuracy_are_means_over_the_whole_split(examples: int) -> None:
    run = Run.from_keys({"data": Synthetic(clients=5, test_samples=examples), "engine.precision": "fp64"})
    simulation = Simulation(run)
    for _ in range(3):
        simulation.advance()
    loss, accuracy = evaluate(simulation.context, Weights(simulation.theta_P), simulation.measures.test)
    spec, test = simulation.federation.spec, simulation.federation.test
    pixels = torch.from_numpy(test.inputs).double() / spec.scale
    inputs = ((pixels - torch.tensor(spec.mean)) / torch.tensor(spec.std)).permute(0, 3, 1, 2)
    module = run.model.build(spec.shape, spec.classes).double()
    module.load_state_dict(simulation.context.layout.views(simulation.theta_P))
    with torch.no_grad():
        logits, labels = module(inputs), torch.from_numpy(test.targets)
    assert loss == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-6)
    assert accuracy == float((logits.argmax(1) == labels).double().mean())
    assert 0.1 < accuracy < 1


def test_low_precision_is_for_training_alone() -> None:
    runs = [Run.from_keys({"data": Synthetic(clients=5), "engine.precision": p}) for p in ("fp32", "bf16")]
    simulations = [Simulation(run) for run in runs]
    one, other = (evaluate(s.context, Weights(s.theta_P), s.measures.test) for s in simulations)
    assert one == other
