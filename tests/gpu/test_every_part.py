"""Every part on the CUDA device that is not there, with parts of every other kind."""

from __future__ import annotations

import pytest

from tests.support.fake_cuda.cases import (
    AVERAGES,
    FOR_TASKS,
    NETWORKS,
    OPTIMISERS,
    PROBES,
    STRATEGIES,
    SWEEPS,
    TASKS,
    WAYS,
    averaged,
    model,
    models,
    optimisers_with_strategies,
)
from tests.support.fake_cuda.process import Process
from tests.support.fake_cuda.verdict import complaints

pytestmark = pytest.mark.every

COUPLED = ("client.name = ", "server.name = ")
"""What a run is refused for where optimiser and strategy do not go together."""


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_an_optimiser_with_every_strategy(fake: Process, optimiser: str) -> None:
    wrong, ran = [], 0
    for own, strategy, keys in optimisers_with_strategies():
        if own == optimiser:
            walked = fake.walk(keys)
            wrong += [f"{strategy} {keys}: {complaint}" for complaint in complaints(walked)]
            if walked.told:
                assert walked.told.startswith(COUPLED), walked.told
            ran += bool(walked.rounds)
    assert not wrong, "\n".join(wrong)
    assert ran > len(STRATEGIES) / 2


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("network", [name for name in NETWORKS if "resnet8" in name])
def test_an_optimiser_with_deep_networks(fake: Process, optimiser: str, network: str) -> None:
    sound(fake, {"client.name": optimiser, **NETWORKS[network]})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_with_batch_normalisation(fake: Process, strategy: str) -> None:
    wrong, ran = [], False
    for optimiser in ("sgd", "sam"):
        walked = fake.walk({"client.name": optimiser, "server.name": strategy, **NETWORKS["resnet8 batch"]})
        wrong += list(complaints(walked))
        ran |= bool(walked.rounds)
    assert not wrong, "\n".join(wrong)
    assert ran


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("network", ["mlp", "resnet8 batch"])
def test_an_average(fake: Process, average: str, network: str) -> None:
    sound(fake, {**averaged(average), **NETWORKS[network]})


@pytest.mark.parametrize("name", models())
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_model(fake: Process, name: str, precision: str) -> None:
    sound(fake, {**model(name), "engine.precision": precision})


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("way", WAYS)
def test_a_task(fake: Process, task: str, way: str) -> None:
    sound(fake, {**FOR_TASKS[task], **WAYS[way]})


@pytest.mark.parametrize("network", NETWORKS)
def test_probes(fake: Process, network: str) -> None:
    sound(fake, {**PROBES, **NETWORKS[network]})


@pytest.mark.parametrize("case", SWEEPS)
def test_settings_trained_as_one(fake: Process, case: str) -> None:
    sound(fake, *SWEEPS[case])


def sound(fake: Process, keys: dict[str, object], settings: dict[str, list[float]] | None = None) -> None:
    walked = fake.walk(keys, settings)
    wrong = list(complaints(walked))
    assert not wrong, "\n".join(wrong)
    assert not walked.told
    assert walked.rounds
