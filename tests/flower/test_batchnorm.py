"""Batch normalisation over Flower messages: the project's own loop, and servers of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fedsam import Run, simulate
from fedsam.engine.flower import Flower
from fedsam.federated.round_loop import Simulation
from fedsam.params import theta_of
from tests.support.normalised import COUNT, described
from tests.support.ragged import Ragged

pytest.importorskip("flwr")
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict

from fedsam.flower import local
from fedsam.flower.names import ARRAYS, CONFIG, METRICS
from tests.support.flower_grid import Nodes, inside_flower  # noqa: F401

pytestmark = pytest.mark.usefixtures("inside_flower")


@pytest.mark.parametrize("batchnorm", ["average", "local"])
def test_messages_give_the_bits_of_the_loop(batchnorm: str) -> None:
    run = described(**{"server.batchnorm": batchnorm})
    there = run.replace(engine=Flower(threads=1, precision="fp64").over(Nodes(7)))
    assert simulate(there).digest == simulate(run).digest


def ask(run: Run, kind: str, arrays: ArrayRecord, node: Context) -> Any:
    config = ConfigRecord({"server-round": 1, "lr": run.client.base_optimizer.lr})
    message = Message(RecordDict({ARRAYS: arrays, CONFIG: config}), 1, kind)
    work = {MessageType.TRAIN: local.train, MessageType.EVALUATE: local.evaluate}[kind]
    answer = work(message, node, run)
    assert not answer.has_error(), answer.error.reason
    return answer.content


def test_a_server_of_ones_own_sends_and_gets_statistics_with_the_weights() -> None:
    """By the names of the module's state, as torch's own; what comes back is what the loop's client has."""
    run = described(data=Ragged(), cohort=7)
    simulation = Simulation(run)
    order = simulation.order(simulation.clock(), run.client.base_optimizer.lr).part([3])
    (block,) = simulation.trainer.train(simulation.theta_P, order)
    norms = simulation.context.batchnorms
    assert norms is not None
    arrays = local.initial_arrays(run)
    assert set(arrays) == set(simulation.context.module.state_dict())
    assert arrays[COUNT].numpy().shape == ()
    node = Context(1, 1, {"partition-id": 3}, RecordDict(), {})
    found = ask(run, MessageType.TRAIN, arrays, node).array_records[ARRAYS]
    assert set(found) == set(arrays)
    assert found[COUNT].numpy().dtype == np.int64
    expected = norms.buffers(block.uploads["batchnorm"] / order.weight_K[0])
    for name, buffer in expected.items():
        torch.testing.assert_close(torch.from_numpy(found[name].numpy()), buffer, rtol=1e-12, atol=1e-14)
    expected_P = theta_of(simulation.context.module) + block.update_JP[0]
    found_P = simulation.context.layout.flatten(
        {name: torch.from_numpy(array.numpy()) for name, array in found.items()}
    )
    torch.testing.assert_close(found_P, expected_P, rtol=1e-12, atol=1e-14)


def test_a_client_evaluates_with_the_statistics_it_is_sent() -> None:
    run = described().replace(data="digits", cohort=5).replace(data={"name": "digits", "local_test": 0.3})
    arrays = local.initial_arrays(run)
    node = Context(1, 1, {"partition-id": 0}, RecordDict(), {})
    one = ask(run, MessageType.EVALUATE, arrays, node).metric_records[METRICS]["loss"]
    arrays["1.running_var"] = type(arrays[COUNT])(4 * arrays["1.running_var"].numpy())
    other = ask(run, MessageType.EVALUATE, arrays, node).metric_records[METRICS]["loss"]
    assert one != other
    del arrays["1.running_mean"]
    message = Message(RecordDict({ARRAYS: arrays}), 1, MessageType.EVALUATE)
    answer = local.evaluate(message, node, run)
    assert "there is no array '1.running_mean', of the model's batch normalisation" in str(answer.error.reason)
