"""Whole runs on a CUDA device that is not there: a sample; test_every_part.py has them all.

A run is stopped and resumed. It fails where tensors of host and device meet, where a round waits for the device without
being allowed to, and where the model does not stay on the device.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_cuda.cases import (
    AUGMENTS,
    FOR_TASKS,
    NETWORKS,
    PROBES,
    SWEEPS,
    TRANSFORMS,
    WAYS,
    averaged,
    covering,
)
from tests.support.fake_cuda.process import Process
from tests.support.fake_cuda.rounds import Walked
from tests.support.fake_cuda.verdict import complaints

CROP = {"data.augment": "crop_flip"}
SAMPLE: dict[str, dict[str, Any]] = {
    "asam, crop and flip, bf16": {"client.name": "asam", "engine.precision": "bf16", **CROP, **NETWORKS["cnn"]},
    "scaffold with momentum that is kept": {
        "server.name": "scaffold",
        "client.momentum": 0.9,
        "client.persistent": True,
        **NETWORKS["mlp"],
    },
    "fedsmoo, client by client": {"client.name": "sam", "server.name": "fedsmoo", **NETWORKS["mlp"], **WAYS["loop"]},
    "batch normalisation": NETWORKS["resnet8 batch"],
    "batch normalisation, one client": {**NETWORKS["resnet8 batch"], "cohort": 1},
    "batch normalisation of each client": {**NETWORKS["resnet8 batch"], "server.batchnorm": "local", "engine.block": 1},
    "swa": {**averaged("swa"), **NETWORKS["mlp"]},
    "captured": {"client.name": "asam", **NETWORKS["cnn"], **WAYS["captured"]},
    "probes": {**PROBES, **NETWORKS["mlp"]},
    "regression": FOR_TASKS["regression"],
    "multilabel": FOR_TASKS["multilabel"],
}


def sound(walked: Walked) -> None:
    assert not list(complaints(walked))
    assert not walked.told
    assert walked.rounds


@pytest.mark.parametrize("case", SAMPLE)
def test_a_run_on_the_device(fake: Process, case: str) -> None:
    sound(fake.walk(SAMPLE[case]))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_updates_that_are_compressed_or_private(fake: Process, transform: str) -> None:
    sound(fake.walk({**TRANSFORMS[transform], **NETWORKS["mlp"]}))


def test_settings_trained_as_one(fake: Process) -> None:
    sound(fake.walk(*SWEEPS["asam"]))


@pytest.mark.parametrize(("engine", "copies"), [("cohort", 1), ("loop", 8)])
def test_a_round_sends_what_a_block_needs_as_one_and_waits_for_nothing(fake: Process, engine: str, copies: int) -> None:
    walked = fake.walk({"client.name": "asam", "engine.name": engine, **CROP, **NETWORKS["cnn"]})
    second = walked.rounds[1]
    assert second["waits"] == {}
    assert sum(second["copies"].values()) == copies  # of four clients; the loop has a weight beside each one's batches
    assert 0 < sum(second["copied"].values()) < 20_000  # positions, draws and masks; no image


def test_a_captured_step_is_one_launch(fake: Process) -> None:
    keys = {"client.name": "asam", "rounds": 5, **NETWORKS["mlp"]}
    launched, captured = (fake.walk({**keys, **WAYS[way]}) for way in ("launched", "captured"))
    sound(captured)
    assert captured.graphs > 0
    assert captured.rounds[-1]["launches"] < launched.rounds[-1]["launches"] / 2
    assert captured.rounds[-1]["kernels"] >= launched.rounds[-1]["kernels"]  # masks come on top


def test_graphs_are_on_by_themselves_in_blocks(fake: Process) -> None:
    assert fake.walk(NETWORKS["mlp"]).graphs > 0
    assert fake.walk({**NETWORKS["mlp"], **WAYS["loop"]}).graphs == 0
    assert fake.walk({**NETWORKS["mlp"], **WAYS["launched"]}).graphs == 0


def test_an_order_can_be_read_where_there_is_another_gpu(fake: Process) -> None:
    keys = {"server.name": "scaffold", "engine.name": "cohort", **NETWORKS["resnet8 batch"]}
    assert not list(complaints(fake.walk(keys, shipped=True)))


def test_a_block_takes_what_a_client_is_said_to_take_at_most(fake: Process) -> None:
    """Of the paper's network and of one with batch normalisation: the estimate is of the right size."""
    for keys in ({"model.name": "cnn"}, NETWORKS["resnet8 group"]):
        asked = {**keys, **WAYS["launched"], "client.batch_size": 16, "cohort": 6}
        walked = fake.walk(asked)
        assert walked.block == 1024
        taken = walked.rounds[1]["peak"] / 6
        assert taken / 3 < walked.client_bytes < 4 * taken


FAULTS = {
    "client.name": ("HostTensor", "Mixed: add takes tensors of the device and of the host"),
    "server.name": ("Item", "round 1 waits for the device 1 times: item, tests/gpu/planted.py Item.update"),
    "server.name ": ("HostIndex", "Mixed: index takes tensors of the device and of the host"),
}


@pytest.mark.parametrize("key", FAULTS)
def test_a_fault_is_found(fake: Process, key: str) -> None:
    name, told = FAULTS[key]
    walked = fake.walk({key.strip(): f"tests.gpu.planted:{name}", **NETWORKS["mlp"]})
    assert any(told in complaint for complaint in complaints(walked)), walked


def test_every_two_values_meet() -> None:
    factors = [list(NETWORKS), AUGMENTS, list(WAYS)]
    rows = covering(*factors)
    for i in range(3):
        for j in range(i):
            assert {(row[i], row[j]) for row in rows} == {(a, b) for a in factors[i] for b in factors[j]}
    assert len(rows) < len(AUGMENTS) * len(NETWORKS) * len(WAYS) / 3
