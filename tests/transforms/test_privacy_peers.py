"""DP-FedAvg against Flower's own wrapper, and epsilon against pfl's accountant."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower

from fedsam import Run
from fedsam.federated.round_loop import Simulation
from fedsam.transforms.accountant import Sampled, epsilon_of
from tests.support.flower_grid import inside_flower
from tests.support.ragged import Ragged
from tests.support.rounds import trained

__all__ = ["inside_flower"]
CLIP, COHORT = 0.2, 5


def described(**changes: float | str) -> Run:
    keys = {"cohort": COHORT, "rounds": 1, "engine.precision": "fp64", "client.lr": 0.05, "engine.name": "loop"}
    return Run.from_keys({"data": Ragged(), **keys, "engine.threads": 1, "model.width": 8, **changes})


@pytest.mark.usefixtures("inside_flower")
def test_a_round_without_noise_is_that_of_flowers_wrapper() -> None:
    """The same clients, clipped to the same length, with equal weights; Flower has two arrays, one norm."""
    pytest.importorskip("dp_accounting")
    deltas, _ = trained(described())
    theta = Simulation(described()).theta_P.numpy()
    assert sum(np.linalg.norm(delta.numpy()) > CLIP for delta in deltas.values()) >= 2

    def record(vector: np.ndarray) -> ArrayRecord:
        return ArrayRecord({"a": Array(vector[:7].copy()), "b": Array(vector[7:].copy())})

    wrapped = flower.DifferentialPrivacyServerSideFixedClipping(flower.FedAvg(), 0.0, CLIP, len(deltas))
    wrapped.current_arrays = record(theta)
    replies = []
    for node, delta in enumerate(deltas.values(), 1):
        asked = Message(RecordDict(), dst_node_id=node, message_type=MessageType.TRAIN)
        metrics = MetricRecord({"num-examples": 1})
        content = RecordDict({"arrays": record(theta + delta.numpy()), "metrics": metrics})
        replies.append(Message(content, reply_to=asked))
    arrays, _ = wrapped.aggregate_train(1, replies)
    assert arrays is not None
    theirs = np.concatenate([arrays["a"].numpy(), arrays["b"].numpy()])
    private = {"privacy.name": "gaussian", "privacy.clip": CLIP, "privacy.noise_multiplier": 0.0}
    simulation = Simulation(described(**private))
    simulation.advance()
    np.testing.assert_allclose(simulation.theta_P.numpy(), theirs, rtol=0, atol=1e-12)
    assert np.abs(theirs - theta).max() > 1e-3


def test_epsilon_is_that_of_pfls_accountant() -> None:
    """Poisson sampling of 50 of 1,000 clients in 100 rounds, by Rényi divergences; one client more or less."""
    pytest.importorskip("dp_accounting")
    accountants = pytest.importorskip("pfl.privacy.privacy_accountant")
    for noise in (0.7, 1.5):
        theirs = accountants.RDPPrivacyAccountant(
            num_compositions=100, sampling_probability=0.05, mechanism="gaussian", noise_parameter=noise, delta=1e-5
        )
        assert epsilon_of(noise, 100, Sampled(1000, 50, poisson=True), 1e-5) == pytest.approx(theirs.epsilon, rel=1e-9)
