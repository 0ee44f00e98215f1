"""The baselines of Lookbehind, the step schedule and turned images: slow oracles and identities.

Shapes: P parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedsam import InputError, Run
from fedsam.data.digits import Digits
from fedsam.data.images.rotated import RotatedDigits
from fedsam.optim.lookahead import Lookahead
from fedsam.optim.lookbehind import Lookbehind
from fedsam.optim.multistep import Multistep
from fedsam.optim.sam import SAM
from fedsam.schedule.base import Clock
from fedsam.schedule.steps import Steps
from tests.oracles import asam, sam
from tests.oracles.descent import Descent
from tests.oracles.networks import NETWORKS, gradients, random_network
from tests.support.discovered import OTHERS, SLOWEST
from tests.support.optimisers import ASCENTS, BASES, close, flat, on, same, walk

pytestmark = pytest.mark.usefixtures("one_thread")
Gradients = Callable[[list[Tensor]], list[Tensor]]
Perturb = Callable[[list[Tensor], list[Tensor]], list[Tensor]]


def climbed(weights: list[Tensor], at: Gradients, perturb: Perturb, k: int) -> list[Tensor]:
    """The weights after k steps of ascent, each from where the one before it ended."""
    for _ in range(k):
        weights = [w + e for w, e in zip(weights, perturb(weights, at(weights)), strict=True)]
    return weights


@pytest.mark.parametrize("base", ["momentum", "clipped", "adamw"])
@pytest.mark.parametrize("ascent", ASCENTS)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("cls", [Multistep, Lookahead])
def test_steps_equal_the_oracle(cls: Any, network: str, ascent: str, base: str) -> None:
    module, batches = random_network(network)
    names, weights = [n for n, _ in module.named_parameters()], [p.detach().clone() for p in module.parameters()]
    base_optimizer, settings = BASES[base]
    more: dict[str, Any] = {"k": 3} if cls is Multistep else {"k": 2, "alpha": 0.3}
    opt, descent = (
        cls(ascent=ASCENTS[ascent](base_optimizer(**settings)), **more),
        Descent(base_optimizer.__name__, weights, **settings),
    )

    def perturb(w: list[Tensor], g: list[Tensor]) -> list[Tensor]:
        return sam.epsilon(g, 0.3) if ascent == "sam" else asam.epsilon(asam.scale(names, w, "weights", 0.05), g, 0.4)

    theta_P = slow_P = flat(weights)
    state = opt.init(theta_P)
    for t, batch in enumerate(batches):
        theta_P, state = opt.step(theta_P, state, on(module, batch, t), 0.2)
        at = partial(gradients, module, batch=batch)
        descent.step(at(climbed(descent.weights, at, perturb, 3 if cls is Multistep else 1)), 0.2)
        if cls is Lookahead and t % 2 == 1:
            slow_P = 0.7 * slow_P + 0.3 * flat(descent.weights)
            with torch.no_grad():
                for parameter, part in zip(
                    descent.parameters, torch.split(slow_P, [w.numel() for w in weights]), strict=True
                ):
                    parameter.copy_(part.view_as(parameter))
        close(theta_P, flat(descent.weights), 1e-10)
    assert len(batches) > 3
    assert (theta_P - flat(weights)).abs().max() > 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("ascent", ASCENTS)
def test_special_cases_bit_for_bit(ascent: str, base: str, dtype: torch.dtype) -> None:
    base_optimizer = BASES[base][0](**BASES[base][1])
    perturbed = ASCENTS[ascent](base_optimizer)
    flatly = perturbed.replace(rho=0.0)
    assert same(walk(Multistep(ascent=perturbed, k=1), dtype), walk(perturbed, dtype))
    assert same(walk(Multistep(ascent=flatly, k=3), dtype), walk(base_optimizer, dtype))
    assert same(walk(Lookahead(ascent=perturbed, alpha=1.0, k=2), dtype), walk(perturbed, dtype))
    assert same(walk(Lookahead(ascent=perturbed, k=7), dtype), walk(perturbed, dtype))  # of six steps none is the 7th
    for other in (Multistep(ascent=perturbed), Lookahead(ascent=perturbed, k=2)):
        assert not same(walk(other, dtype), walk(perturbed, dtype))


def test_multistep_climbs_as_lookbehind_does() -> None:
    points: dict[Any, list[Tensor]] = {Multistep: [], Lookbehind: []}
    for cls, asked in points.items():
        module, batches = random_network("mlp")
        oracle, theta_P = on(module, batches[0]), flat([p.detach() for p in module.parameters()])
        gradient = oracle.gradient
        oracle.gradient = lambda at_P, asked=asked, gradient=gradient: (asked.append(at_P), gradient(at_P))[1]  # type: ignore[misc]
        opt = cls(ascent=SAM(rho=0.2), k=3)
        opt.step(theta_P, opt.init(theta_P), oracle, 0.1)
    assert same(points[Multistep], points[Lookbehind])
    assert len(points[Multistep]) == 4


def test_the_state_of_lookahead_is_whole_for_a_block_of_clients() -> None:
    from fedsam import simulate

    keys = {"client.name": "lookahead", "client.k": 2, "client.momentum": 0.5, "rounds": 2, "data.clients": 7}
    keys |= {"engine.precision": "fp64", "data.partition": "quantity", "cohort": 4, "data.samples_per_client": "none"}
    loop, *others = (simulate(Run.from_keys(keys | {"engine.name": name})) for name in (SLOWEST, *OTHERS))
    for other in others:
        assert loop.metrics[-1]["test_loss"] == pytest.approx(other.metrics[-1]["test_loss"], rel=1e-10)


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"client.name": "multistep", "client.k": 0}, "client.k"),
        ({"client.name": "lookahead", "client.k": 0}, "client.k"),
        ({"client.name": "lookahead", "client.alpha": 0}, "client.alpha"),
        ({"client.name": "lookahead", "client.alpha": 1.5}, "client.alpha"),
        ({"client.name": "multistep", "client.ascent": "sgd"}, "client.ascent"),
        ({"client.schedule": "steps", "client.period": 0}, "client.period"),
        ({"data.name": "fedsam.data.images.rotated:RotatedDigits", "data.turns": 4}, "data.turns"),
    ],
)
def test_impossible_settings_are_refused_by_name(keys: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        Run.from_keys(keys)
    assert caught.value.key == field


@pytest.mark.parametrize(
    ("rounds", "drop", "period", "drops"), [(200, 0.1, 0.25, 3), (10, 0.2, 0.3, 2), (7, 0.5, 1, 1)]
)
def test_steps_are_those_of_a_list(rounds: int, drop: float, period: float, drops: int) -> None:
    schedule = Steps(drop=drop, period=period, drops=drops)
    expected, rate, dropped = [], 0.4, 0
    for t in range(rounds):
        if dropped < drops and t >= (dropped + 1) * period * rounds - 1e-9:
            rate, dropped = rate * drop, dropped + 1
        expected.append(rate)
    assert [schedule.lr(0.4, Clock(t, rounds)) for t in range(rounds)] == pytest.approx(expected, rel=1e-12)


def test_images_are_turned_and_labels_are_not() -> None:
    plain, once, back = Digits().read(), RotatedDigits(turns=1).read(), RotatedDigits(turns=0).read()
    for part in (1, 2):
        upright, turned = plain[part], once[part]
        assert turned.inputs.shape == upright.inputs.shape
        for n in (0, 5):
            for row in range(8):  # anticlockwise: the last column becomes the first row
                assert turned.inputs[n, row, :, 0].tolist() == upright.inputs[n, :, 7 - row, 0].tolist()
        assert np.array_equal(turned.targets, upright.targets)
        assert np.array_equal(back[part].inputs, upright.inputs)
    assert not np.array_equal(once[1].inputs, plain[1].inputs)
