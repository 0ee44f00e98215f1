"""What a model is shown of a pixel: standardised, from −1 to 1, or from 0 to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fedsam import InputError, Run, simulate
from fedsam.data.digits import Digits
from fedsam.federated.build import assemble
from fedsam.federated.round_loop import Simulation
from tests.support.discovered import ENGINES

SMALL: dict[str, Any] = {"data.clients": 4, "cohort": 2, "rounds": 2, "evaluate_every": 1, "engine.threads": 1}


@pytest.mark.parametrize(("data", "scale"), [("digits", 16), ("synthetic", 255)])
@pytest.mark.parametrize(("pixels", "lowest", "highest"), [("unit", 0.0, 1.0), ("symmetric", -1.0, 1.0)])
def test_pixels_enter_the_model_in_their_range(
    data: str, scale: int, pixels: str, lowest: float, highest: float
) -> None:
    _, context = assemble(
        Run.from_keys({**SMALL, "data.name": data, "data.pixels": pixels, "engine.precision": "fp64"})
    )
    channels = context.spec.shape[2]
    bytes_BHWC = torch.arange(scale + 1, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 1, channels)
    expected = np.linspace(lowest, highest, scale + 1)
    for channel in range(channels):
        np.testing.assert_allclose(context.prepare(bytes_BHWC)[:, channel, 0, 0], expected, atol=1e-14)


def test_by_default_they_are_standardised() -> None:
    federation, context = assemble(Run.from_keys({**SMALL, "engine.precision": "fp64"}))
    store, _ = federation.examples(range(4))
    seen = context.prepare(torch.tensor(store.inputs))
    assert (float(seen.mean()), float(seen.std(correction=0))) == pytest.approx((0.0, 1.0), abs=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("pixels", "times", "minus"), [("unit", 1 / 16, 0.0), ("symmetric", 2 / 16, 1.0)])
def test_one_step_of_logistic_regression_by_hand(engine: str, pixels: str, times: float, minus: float) -> None:
    keys = {**SMALL, "data.partition": "iid", "data.clients": 1, "cohort": 1, "rounds": 1, "model.depth": 0}
    keys |= {"client.epochs": 1, "client.batch_size": 1400, "client.lr": 0.3, "engine.name": engine}
    run = Run.from_keys({**keys, "data.pixels": pixels, "engine.precision": "fp64"})
    begin, result = Simulation(run), simulate(run)
    views = begin.context.layout.views(begin.theta_P)
    weight_LD, bias_L = (views[f"out.{name}"].double().numpy() for name in ("weight", "bias"))
    _, train, test = Digits().read()
    x_ND, y_N = train.inputs.reshape(-1, 64) * times - minus, np.eye(10)[train.targets]

    def softmax(x_ND: np.ndarray) -> np.ndarray:
        exp_NL = np.exp(x_ND @ weight_LD.T + bias_L)
        shares: np.ndarray = exp_NL / exp_NL.sum(axis=1, keepdims=True)
        return shares

    error_NL = (softmax(x_ND) - y_N) / len(y_N)
    weight_LD, bias_L = weight_LD - 0.3 * error_NL.T @ x_ND, bias_L - 0.3 * error_NL.sum(axis=0)
    right_N = softmax(test.inputs.reshape(-1, 64) * times - minus)[np.arange(len(test)), test.targets]
    assert result.metrics[-1]["test_loss"] == pytest.approx(-np.log(right_N).mean(), rel=1e-6)


def test_no_other_way() -> None:
    with pytest.raises(InputError, match=r"data.pixels = raw: must be one of .*standard.*symmetric.*unit"):
        Run.from_keys({"data.pixels": "raw"})
