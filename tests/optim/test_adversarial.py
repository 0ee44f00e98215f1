"""Adversarial training and robust accuracy: the attack against a slow one image by image, and by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812

from fedsam import InputError, Run, resume, simulate
from fedsam.attack.pgd import PGD
from fedsam.data.augment.crop_flip import CropFlip
from fedsam.errors import Interrupted
from fedsam.federated.round_loop import Simulation
from fedsam.measure.evaluate import evaluate, robust_score
from fedsam.optim.adversarial import START, Adversarial
from fedsam.params import Weights
from fedsam.rng import stream
from tests.oracles.pgd import pgd
from tests.support.discovered import ENGINES
from tests.support.interrupted import StopAt, outcome
from tests.support.ragged import Ragged

NORMS = {
    "linf": PGD(norm="linf", epsilon=0.08, steps=4, step_size=0.03),
    "l2": PGD(norm="l2", epsilon=0.5, steps=4, step_size=0.2),
}


def described(engine: str = "loop", **changes: Any) -> Run:
    keys = {"data": Ragged(), "model.width": 16, "cohort": 4, "rounds": 4, "evaluate_every": 2}
    keys |= {"client.lr": 0.1, "client.batch_size": 4, "engine.name": engine, "engine.threads": 1}
    return Run.from_keys({**keys, "engine.precision": "fp64", **changes})


def attacked(norm: str, **changes: Any) -> dict[str, Any]:
    radius = {"linf": (0.08, 0.03), "l2": (0.5, 0.2)}[norm]
    own = {"client.norm": norm, "client.epsilon": radius[0], "client.steps": 4, "client.step_size": radius[1]}
    return {"client.name": "adversarial", **own, **changes}


def loss_of(simulation: Simulation, theta_P: Tensor, label: Tensor) -> Any:
    """The loss of one image in pixels from 0 to 1."""
    context = simulation.context

    def loss(image_CHW: Tensor) -> Tensor:
        inputs = (image_CHW - 0.4) / 0.3
        logits = functional_call(context.module, context.layout.views(theta_P), (inputs[None],))
        return F.cross_entropy(logits, label[None])

    return loss


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("random_start", [True, False])
def test_a_clients_round_is_that_of_the_slow_attack(norm: str, engine: str, random_start: bool) -> None:
    run = described(engine, **attacked(norm), **{"client.random_start": random_start, "cohort": 7})
    simulation = Simulation(run)
    order = simulation.order(simulation.clock(), 0.1)
    store, plans = simulation.context.plan(simulation.federation, order)
    blocks = list(simulation.trainer.train(simulation.theta_P, order))
    attack = NORMS[norm]
    for row in (3, 6):
        theta_P = simulation.theta_P.clone()
        plan = plans[row]
        assert (START in plan.draws) == random_start
        for t, count in enumerate(plan.count_T.tolist()):
            index = plan.index_TB[t, :count]
            images = torch.from_numpy(store.inputs[index]).double().permute(0, 3, 1, 2) / 255
            labels = torch.from_numpy(store.targets[index])
            changed = []
            for i in range(count):
                start = torch.zeros_like(images[i])
                if random_start:
                    start = attack.epsilon * torch.from_numpy(plan.draws[START][t, i]).double()
                loss = loss_of(simulation, theta_P, labels[i])
                changed.append(pgd(loss, images[i], attack.epsilon, 4, attack.step_size, norm, start))
            assert all(float((one - image).abs().max()) > 1e-3 for one, image in zip(changed, images, strict=True))
            leaf_P = theta_P.clone().requires_grad_()
            total = torch.stack(
                [loss_of(simulation, leaf_P, label)(x) for x, label in zip(changed, labels, strict=True)]
            )
            (gradient_P,) = torch.autograd.grad(total.mean(), leaf_P)
            theta_P = theta_P - 0.1 * gradient_P
        block = next(block for block in blocks if order.ids[row] in block.ids)
        found_P = simulation.theta_P + block.update_JP[block.ids.index(order.ids[row])]
        torch.testing.assert_close(found_P, theta_P, rtol=1e-9, atol=1e-11)


def test_starts_are_drawn_beside_the_augmentation_and_anew_in_every_round() -> None:
    run = described(**attacked("linf")).replace(data=Ragged(augment=CropFlip()))
    simulation = Simulation(run)
    order = simulation.order(simulation.clock(), 0.1)
    plans = [
        simulation.context.plan(simulation.federation, dataclasses.replace(order, round=n))[1][0] for n in (0, 0, 1)
    ]
    assert len(plans[0].draws) > 1
    one, again, later = (plan.draws[START] for plan in plans)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, later)


@pytest.mark.parametrize("norm", NORMS)
def test_the_change_stays_in_the_ball_and_among_the_pixels(norm: str) -> None:
    attack, rng = NORMS[norm], torch.Generator().manual_seed(1)
    pixels = torch.rand(6, 3, 5, 5, generator=rng, dtype=torch.float64)
    mean, std = torch.tensor([0.4, 0.5, 0.6]).double(), torch.tensor([0.2, 0.3, 0.1]).double()
    slope = torch.randn(6, 3, 5, 5, generator=rng, dtype=torch.float64)
    inputs = (pixels - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    start = torch.from_numpy(attack.start(stream(0, "test"), (6, 5, 5, 3))).permute(0, 3, 1, 2)
    found = attack.changed(inputs, mean, std, lambda x: slope, start) * std.view(-1, 1, 1) + mean.view(-1, 1, 1)
    delta = found - pixels
    size = delta.abs().amax((1, 2, 3)) if norm == "linf" else delta.flatten(1).norm(dim=1)
    assert (size <= attack.epsilon * (1 + 1e-9)).all()
    assert (size > 0.5 * attack.epsilon).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert ((pixels + attack.epsilon > 1) & (found > 1 - 1e-9)).any()  # the bounds were met


def test_a_step_of_l2_is_along_the_slope_by_pixels() -> None:
    """∇_p L = ∇_x L / σ_c where x = (p − mean) / σ_c, so channels with a small σ count more."""
    pixels, slope = torch.full((1, 2, 1, 1), 0.5).double(), torch.tensor([3.0, 1.0]).double().view(1, 2, 1, 1)
    mean, std = torch.tensor([0.5, 0.5]).double(), torch.tensor([0.6, 0.1]).double()
    found = PGD(norm="l2", epsilon=1.0, steps=1, step_size=0.1).changed(0 * pixels, mean, std, lambda x: slope)
    torch.testing.assert_close(found.view(-1) * std, 0.1 * torch.tensor([5.0, 10.0]).double() / 125**0.5)


@pytest.mark.parametrize("norm", NORMS)
def test_starts_fill_the_ball(norm: str) -> None:
    start = PGD(norm=norm).start(stream(3, "test"), (400, 2, 2, 3))
    if norm == "linf":
        assert np.abs(start).max() == pytest.approx(1, abs=0.01)
        assert np.var(start) == pytest.approx(1 / 3, rel=0.05)  # of a uniform number in [−1, 1]
        return
    length = np.sqrt((start**2).sum((1, 2, 3)))
    assert length.max() <= 1 + 1e-6
    assert np.mean(length) == pytest.approx(12 / 13, rel=0.02)  # d / (d + 1) in d dimensions
    assert np.abs(start.mean(0)).max() < 0.06


def test_one_step_on_a_linear_model_by_hand() -> None:
    """∇_x L = Wᵀ (softmax(W x + b) − y): a step along its sign (Goodfellow et al., ICLR 2015), then the box."""
    simulation = Simulation(described(**{"model.depth": 0}))
    context, (name, bias) = simulation.context, simulation.context.layout.names
    views = context.layout.views(simulation.theta_P)
    pixels = torch.linspace(0, 1, 64).double()
    inputs = (pixels - 0.4) / 0.3
    slope = views[name].T @ ((views[name] @ inputs + views[bias]).softmax(0) - torch.tensor([0.0, 1.0, 0.0]))

    def gradient(x: Tensor) -> Tensor:
        leaf = x.detach().requires_grad_()
        loss = F.cross_entropy(context.outputs(Weights(simulation.theta_P), leaf), torch.tensor([1]))
        return torch.autograd.grad(loss, leaf)[0]

    image = inputs.view(1, 1, 8, 8)
    found = PGD(epsilon=0.2, steps=1, step_size=0.1).changed(
        image, context.prepare.mean_C, context.prepare.std_C, gradient
    )
    torch.testing.assert_close(found.view(-1) * 0.3 + 0.4, (pixels + 0.1 * slope.sign()).clamp(0, 1))


def test_nothing_to_change_is_the_base_bit_for_bit() -> None:
    plain = simulate(described()).digest
    for change in ({"client.epsilon": 0.0}, {"client.attack": "none"}):
        keys = {"client.name": "adversarial", "client.random_start": False, **change}
        assert simulate(described(**keys)).digest == plain
    assert simulate(described(**{"client.name": "adversarial"})).digest != plain


def test_late_is_the_base_before_the_switch_and_adversarial_after() -> None:
    late = {"client.name": "late", "client.ascent": "adversarial", "client.epsilon": 0.1}
    never, always = (simulate(described(**late, **{"client.switch": t})).digest for t in (4, 0))
    assert never == simulate(described()).digest
    assert always == simulate(described(**{"client.name": "adversarial", "client.epsilon": 0.1})).digest
    simulation, plain = Simulation(described(**late, **{"client.switch": 2})), Simulation(described())
    same = []
    for _ in range(4):
        simulation.advance()
        plain.advance()
        same.append(bool(torch.equal(simulation.theta_P, plain.theta_P)))
    assert same == [True, True, False, False]


def test_it_does_not_perturb_weights() -> None:
    with pytest.raises(InputError, match=r"client\.name = adversarial: server\.name=mofedsam needs a client that"):
        described(**{"client.name": "adversarial", "server.name": "mofedsam"})
    assert not Adversarial().perturbs
    described(**{"client.name": "adversarial", "server.name": "fedlesam"})


def test_robust_accuracy_is_that_of_the_slow_attack() -> None:
    attack = {"attack.name": "pgd", "attack.epsilon": 0.1, "attack.steps": 3, "attack.step_size": 0.05}
    simulation = Simulation(described(**attack, **{"rounds": 3}))
    simulation.advance()
    right = []
    for image, label in zip(simulation.measures.test.inputs, simulation.measures.test.targets, strict=True):
        pixels = image.double().permute(2, 0, 1) / 255
        loss = loss_of(simulation, simulation.theta_P, label)
        changed = pgd(loss, pixels, 0.1, 3, 0.05, "linf", torch.zeros_like(pixels))
        logits = simulation.context.outputs(Weights(simulation.theta_P), ((changed - 0.4) / 0.3)[None])
        right.append(int(logits.argmax()) == int(label))
    run, theta_P = simulation.run, simulation.theta_P
    assert robust_score(simulation.context, Weights(theta_P), simulation.measures.test, run.attack) == sum(right) / 20
    assert 0 < sum(right) < 20 * evaluate(simulation.context, Weights(theta_P), simulation.measures.test)[1]
    nothing = PGD(epsilon=0.0)
    clean = evaluate(simulation.context, Weights(theta_P), simulation.measures.test)[1]
    assert robust_score(simulation.context, Weights(theta_P), simulation.measures.test, nothing) == clean


def test_robust_accuracy_is_recorded() -> None:
    attack = {"attack.name": "pgd", "attack.epsilon": 0.1}
    plain, whole = simulate(described()), simulate(described(**attack))
    few = simulate(described(**attack, attack_images=5))
    assert plain.digest == whole.digest
    assert "robust_accuracy" not in plain.metrics[-1]
    for record in whole.metrics:
        assert record["robust_accuracy"] <= record["test_accuracy"]
    assert whole.summary()["robust_accuracy"] == whole.metrics[-1]["robust_accuracy"]
    assert [5 * record["robust_accuracy"] for record in few.metrics] == pytest.approx(
        [round(5 * record["robust_accuracy"]) for record in few.metrics]
    )


def test_a_resumed_run_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    changes = {**attacked("linf"), "attack.name": "pgd", "checkpoint_every": 1}
    simulate(described(out=str(whole), **changes))
    listener = StopAt(2)
    with pytest.raises(Interrupted):
        simulate(described(out=str(stopped), **changes), listener, listener.stop)
    resume(stopped)
    assert outcome(whole) == outcome(stopped)
