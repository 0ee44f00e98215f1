"""Lion and Muon: what their steps are by themselves; against transcriptions they are tried with all bases."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fedsam import InputError, Run
from fedsam.federated.round_loop import Simulation
from fedsam.optim.lion import Lion
from fedsam.optim.muon import Muon, newton_schulz
from fedsam.optim.sam import SAM
from fedsam.params import Layout
from tests.oracles.networks import random_network
from tests.support.optimisers import BASES, Batch, close, flat, on, same, vector, walk

pytestmark = pytest.mark.usefixtures("one_thread")


def test_lion_moves_every_weight_by_the_learning_rate() -> None:
    module, batches = random_network("mlp")
    theta_P = flat([p.detach() for p in module.parameters()])
    for opt in (Lion(), SAM(rho=0.2, base=Lion())):
        new_P, state = opt.step(theta_P, opt.init(theta_P), on(module, batches[0]), 0.01)
        close((new_P - theta_P).abs(), torch.full_like(theta_P, 0.01))
        assert state["m"].abs().max() > 0


def test_lions_sign_by_hand() -> None:
    opt, theta_P = Lion(beta1=0.5, beta2=0.75, weight_decay=0.1), vector(2.0, -4.0)
    state = opt.init(theta_P)
    # m = 0, then (1, -1); c = (2, -2), then (0.5, 0.5) - (1.5, ...): the kept mean outweighs a small gradient
    for gradient, step, mean in (((4.0, -4.0), (1.0, -1.0), (1.0, -1.0)), ((-0.5, 0.0), (1.0, -1.0), (0.625, -0.75))):
        before_P = theta_P
        theta_P, state = opt.step(theta_P, state, Batch(lambda _, g=gradient: vector(*g)), 0.1)  # type: ignore[misc]
        close(theta_P, before_P - 0.1 * (vector(*step) + 0.1 * before_P))
        close(state["m"], vector(*mean))


@pytest.mark.parametrize("shape", [(8, 8), (12, 5), (5, 12), (1, 7), (64, 10)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    rng = torch.Generator().manual_seed(4)
    # singular values from 1/5 to 1 of the largest
    p, _ = torch.linalg.qr(torch.randn(shape[0], min(shape), generator=rng).double())
    q, _ = torch.linalg.qr(torch.randn(shape[1], min(shape), generator=rng).double())
    matrix = p @ torch.diag(torch.linspace(0.2, 1, min(shape)).double()) @ q.T
    found = newton_schulz(37.0 * matrix)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6
    assert values.max() < 1.3
    close(p.T @ found @ q, torch.diag((p.T @ found @ q).diagonal()), 1e-9)  # the singular vectors stay
    assert not torch.allclose(torch.linalg.svdvals(newton_schulz(matrix, 1)), values)
    assert float(newton_schulz(torch.zeros(shape)).abs().max()) == 0.0


def test_muon_is_scaled_by_the_shape_and_adamw_takes_the_rest() -> None:
    layout = Layout(("tall.weight", "tall.bias", "head.weight"), ((8, 2), (8,), (2, 8)))
    theta_P, rng = torch.zeros(layout.total).double(), torch.Generator().manual_seed(0)
    gradient_P = torch.randn(layout.total, generator=rng).double()

    def moved(**keys: Any) -> dict[str, torch.Tensor]:
        opt = Muon(rest=0.5, **keys)
        new_P, _ = opt.step(theta_P, opt.init(theta_P), Batch(lambda _: gradient_P, layout), 0.1)
        return layout.views(new_P)

    found = moved()
    tall, wide = (torch.linalg.svdvals(found[name]) / 0.1 for name in ("tall.weight", "head.weight"))
    assert ((tall / 2 > 0.6) & (tall / 2 < 1.3)).all()  # √(8/2)
    assert ((wide > 0.6) & (wide < 1.3)).all()
    close(found["tall.bias"].abs(), torch.full((8,), 0.05).double(), 1e-6)  # AdamW's first step, at 0.5 · lr
    skipping = moved(skip="embed, head")
    assert torch.equal(skipping["tall.weight"], found["tall.weight"])
    close(skipping["head.weight"].abs(), torch.full((2, 8), 0.05).double(), 1e-6)


@pytest.mark.parametrize(
    ("skip", "told"),
    [
        ("hed", "skip = hed: is in the name of no matrix"),
        ("fc1, ot", "skip = ot: .*fc1.weight, out.weight"),
        ("bias", "skip = bias: is in the name of no matrix"),
        (" ,", "skip =  ,: names no matrix; of this model there are fc1.weight, out.weight"),
        ("fc1, out", "names all matrices of this model.*use adamw"),
    ],
)
def test_what_muon_skips_must_be_there(skip: str, told: str) -> None:
    for client in (Muon(skip=skip), SAM(base=Muon(skip=skip))):
        with pytest.raises(InputError, match=told):
            Simulation(Run(client=client))
    Simulation(Run(client=Muon(skip="out")))


def test_momentum_of_muon_lasts() -> None:
    for keys in ({"momentum": 0.0}, {"momentum": 0.0, "nesterov": False}):
        opt = Muon(**keys)  # type: ignore[arg-type]
        assert same(walk(opt, torch.float64), walk(Muon(momentum=0.0), torch.float64))
    assert not same(walk(Muon(nesterov=False), torch.float64), walk(Muon(), torch.float64))


def test_whoever_wraps_muon_calls_follow() -> None:
    with pytest.raises(TypeError, match="call follow"):
        Muon().descend(vector(1.0, 2.0), {}, vector(1.0, 2.0), 0.1)


class Corrected(Batch):
    """Of a strategy that adds to what is descended along."""

    def descent(self, gradient_P: Tensor, theta_P: Tensor) -> Tensor:
        return gradient_P + 0.5 * theta_P


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("base", BASES)
def test_every_base_follows_what_the_strategy_makes_of_the_direction(base: str, wrapped: bool) -> None:
    layout = Layout(("a.weight", "a.bias"), ((2, 2), (2,)))
    theta_P = vector(1.0, -2.0, 0.5, 3.0, -1.0, 2.0)
    held = BASES[base][0](**BASES[base][1])
    opt = SAM(rho=0.1, base=held) if wrapped else held

    def gradient(at_P: Tensor) -> Tensor:
        return torch.cos(3 * at_P)

    def corrected(at_P: Tensor) -> Tensor:  # where only the last gradient of a step is followed
        return torch.cos(3 * at_P) + (0.5 * theta_P if bool((at_P != theta_P).any()) == wrapped else 0.0)

    found, _ = opt.step(theta_P, opt.init(theta_P), Corrected(gradient, layout), 0.1)
    expected, _ = opt.step(theta_P, opt.init(theta_P), Batch(corrected, layout), 0.1)
    plain, _ = opt.step(theta_P, opt.init(theta_P), Batch(gradient, layout), 0.1)
    close(found, expected)
    assert not torch.allclose(found, plain)
