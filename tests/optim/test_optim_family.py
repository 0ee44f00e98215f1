"""Optimisers that do more with a perturbation than step at it: slow oracles, identities, numbers by hand, keys.

Shapes: P parameters, K clients, T steps, B batch, D inputs, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedsam import InputError, Run
from fedsam.optim.adamw import AdamW
from fedsam.optim.asam import ASAM
from fedsam.optim.base import BaseOptimizer, ClientOptimizer
from fedsam.optim.fsam import FSAM
from fedsam.optim.gsam import GSAM
from fedsam.optim.lookbehind import Lookbehind
from fedsam.optim.looksam import LookSAM
from fedsam.optim.sam import SAM
from fedsam.optim.sgd import SGD
from fedsam.optim.wsam import WSAM
from fedsam.params import Layout
from tests.oracles import asam, fsam, gsam, lookbehind, looksam, sam, wsam
from tests.oracles.descent import Descent
from tests.oracles.networks import NETWORKS, gradients, random_network
from tests.support.optimisers import ASCENTS, BASES, Batch, close, flat, on, same, vector, walk

pytestmark = pytest.mark.usefixtures("one_thread")
FAMILY: list[Any] = [Lookbehind, GSAM, LookSAM, FSAM, WSAM]
CASES: dict[str, tuple[Any, dict[str, Any], Callable[[], Any]]] = {
    "lookbehind": (Lookbehind, {"k": 3, "alpha": 0.4}, lambda: lookbehind.Lookbehind(3, 0.4)),
    "adaptive": (Lookbehind, {"k": 3, "alpha": "adaptive"}, lambda: lookbehind.Lookbehind(3, "global")),
    "per-tensor": (Lookbehind, {"k": 2, "per_tensor": True}, lambda: lookbehind.Lookbehind(2, "tensor")),
    "gsam": (GSAM, {"alpha": 0.6}, lambda: gsam.GSAM(0.6)),
    "looksam": (LookSAM, {"k": 3, "alpha": 0.7}, lambda: looksam.LookSAM(3, 0.7)),
    "wsam": (WSAM, {"gamma": 0.8}, lambda: wsam.WSAM(0.8, True)),
    "wsam-coupled": (WSAM, {"gamma": 0.3, "decouple": False}, lambda: wsam.WSAM(0.3, False)),
    "fsam": (FSAM, {"sigma": 0.9, "lmbda": 0.7}, lambda: fsam.FSAM(0.9, 0.7)),
}
PLAIN: dict[Any, dict[str, Any]] = {
    Lookbehind: {"k": 1, "alpha": 1},
    GSAM: {"alpha": 0},
    LookSAM: {"k": 1},
    FSAM: {"sigma": 0},
    WSAM: {"gamma": 0.5, "decouple": False},
}


def script(*answers: Tensor, t: int = 0) -> Batch:
    """An oracle that gives these gradients, one after the other, and nothing after them."""
    left = iter(answers)
    return Batch(lambda _: next(left), t=t)


@pytest.mark.parametrize("base", ["momentum", "clipped", "adamw", "lion", "muon"])
@pytest.mark.parametrize("ascent", ASCENTS)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("case", CASES)
def test_steps_equal_the_oracle(case: str, network: str, ascent: str, base: str) -> None:
    module, batches = random_network(network)
    names, weights = [n for n, _ in module.named_parameters()], [p.detach().clone() for p in module.parameters()]
    (cls, values, slow), (base_optimizer, settings) = CASES[case], BASES[base]
    opt, expected = cls(ascent=ASCENTS[ascent](base_optimizer(**settings)), **values), slow()
    descent = Descent(base_optimizer.__name__, weights, **settings)

    def perturb(w: list[Tensor], g: list[Tensor]) -> list[Tensor]:
        return sam.epsilon(g, 0.3) if ascent == "sam" else asam.epsilon(asam.scale(names, w, "weights", 0.05), g, 0.4)

    theta_P = flat(weights)
    state = opt.init(theta_P)
    for t, batch in enumerate(batches):
        theta_P, state = opt.step(theta_P, state, on(module, batch, t), 0.2 / (t + 1))
        expected.step(descent, partial(gradients, module, batch=batch), perturb, 0.2 / (t + 1))
        close(theta_P, flat(descent.weights), 1e-10)
    assert (theta_P - flat(weights)).abs().max() > 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("ascent", ASCENTS)
@pytest.mark.parametrize("cls", FAMILY)
def test_the_perturbed_optimiser_is_a_special_case_bit_for_bit(
    cls: Any, ascent: str, base: str, dtype: torch.dtype
) -> None:
    perturbed = ASCENTS[ascent](BASES[base][0](**BASES[base][1]))
    assert same(walk(cls(ascent=perturbed, **PLAIN[cls]), dtype), walk(perturbed, dtype))
    assert not same(walk(cls(ascent=perturbed), dtype), walk(perturbed, dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("ascent", [SAM, ASAM])
@pytest.mark.parametrize("cls", FAMILY)
def test_rho_zero_is_the_base_bit_for_bit(cls: Any, ascent: Any, base: str, dtype: torch.dtype) -> None:
    base_optimizer = BASES[base][0](**BASES[base][1])
    unperturbed = cls(ascent=ascent(rho=0, base=base_optimizer), **(PLAIN[cls] if cls is Lookbehind else {}))
    assert same(walk(unperturbed, dtype), walk(base_optimizer, dtype))


def test_lookbehind_at_rho_zero_takes_k_steps_along_one_gradient() -> None:
    opt, once = Lookbehind(ascent=SAM(rho=0), k=3, alpha=0.25), SGD()
    module, batches = random_network("mlp")
    theta_P = flat([p.detach() for p in module.parameters()])
    found, _ = opt.step(theta_P, {}, on(module, batches[0]), 0.1)
    close(found, once.step(theta_P, {}, on(module, batches[0]), 0.1 * 3 * 0.25)[0], 1e-14)
    base_optimizer: BaseOptimizer
    for base_optimizer in (SGD(momentum=0.9, weight_decay=0.1), AdamW(weight_decay=0.2)):
        gradient_P, fast_P, state = on(module, batches[0])(theta_P), theta_P, base_optimizer.init(theta_P)
        for _ in range(3):
            fast_P, state = base_optimizer.descend(fast_P, state, gradient_P, 0.1)
        opt = Lookbehind(ascent=SAM(rho=0, base=base_optimizer), k=3, alpha=1.0)
        found, after = opt.step(theta_P, opt.init(theta_P), on(module, batches[0]), 0.1)
        assert torch.equal(found, fast_P)
        assert all(torch.equal(after[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("opt", "counts"),
    [
        *[(Lookbehind(k=k), [k + 1] * 4) for k in (1, 2, 5)],
        (GSAM(), [2] * 4),
        (FSAM(), [2] * 4),
        (WSAM(), [2] * 4),
        (LookSAM(k=1), [2] * 4),
        (LookSAM(k=3), [2, 1, 1, 2]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_number_of_gradients_in_each_step(opt: ClientOptimizer, counts: list[int]) -> None:
    theta_P = vector(1.0, 2.0)
    state = opt.init(theta_P)
    for t, count in enumerate(counts):
        oracle = Batch(lambda at_P: at_P**3, t=t)
        new_P, state = opt.step(theta_P, state, oracle, 0.01)
        assert len(oracle.asked) == count
        assert torch.equal(oracle.asked[0], theta_P)  # the loss that is reported is the one there
        theta_P = new_P


def test_lookbehind_climbs_on_from_the_perturbed_point_and_descends_below_it() -> None:
    oracle = script(vector(3.0, 4.0), vector(0.0, 2.0), vector(-5.0, 0.0), vector(1.0, 1.0))
    found, _ = Lookbehind(k=3, alpha=0.5, ascent=SAM(rho=1.0)).step(vector(0.0, 0.0), {}, oracle, 0.1)
    expected = [vector(0.0, 0.0), vector(0.6, 0.8), vector(0.6, 1.8), vector(-0.4, 1.8)]
    for asked, point in zip(oracle.asked, expected, strict=True):
        close(asked, point)
    close(found, -0.1 * 0.5 * vector(0.0 - 5.0 + 1.0, 2.0 + 0.0 + 1.0))


@pytest.mark.parametrize(
    ("first", "second", "whole", "each"),
    [
        ((1.0, 0.0), (0.0, 1.0), [(1 + math.sqrt(0.5)) / 2] * 2, [1.0, 0.5]),  # the second tensor's first step is zero
        ((1.0, 1.0), (-3.0, 1.0), [0.5] * 2, [0.0, 1.0]),  # (1, 1) and (-2, 2)
        ((1.0, 0.0), (-3.0, 0.0), [0.0] * 2, [0.0, 0.5]),
        ((0.0, 0.0), (1.0, 2.0), [0.5] * 2, [0.5] * 2),
        ((2.0, 1.0), (-2.0, -1.0), [0.5] * 2, [0.5] * 2),
    ],
)
def test_adaptive_alpha_by_hand(first: Any, second: Any, whole: list[float], each: list[float]) -> None:
    start = vector(5.0, 7.0)
    for per_tensor, alpha in ((False, whole), (True, each)):
        oracle = script(vector(1.0, 0.0), vector(*first), vector(*second))
        found, _ = Lookbehind(k=2, alpha="adaptive", per_tensor=per_tensor).step(start, {}, oracle, 0.1)
        close(found, start - 0.1 * vector(*alpha) * (vector(*first) + vector(*second)))


def test_gsam_and_looksam_by_hand() -> None:
    zero, lr = vector(0.0, 0.0), 0.1
    close(GSAM(alpha=0.3).step(zero, {}, script(vector(1.0, 1.0), vector(2.0, 0.0)), lr)[0], -lr * vector(2.0, -0.3))
    opposed = script(vector(1.0, 1.0), vector(-2.0, 0.0))
    close(GSAM(alpha=0.3).step(zero, {}, opposed, lr)[0], -lr * vector(-2.0, -0.3))
    stationary = script(vector(1.0, 1.0), zero)
    close(GSAM(alpha=0.3).step(zero, {}, stationary, lr)[0], lr * vector(0.3, 0.3))
    opt = LookSAM(k=2, alpha=0.5)
    state = opt.init(zero)
    directions = []
    for t, answers in enumerate([((1.0, 0.0), (-1.0, 2.0)), ((3.0, 4.0),), ((0.0, 1.0), (2.0, 3.0)), ((3.0, 4.0),)]):
        moved, state = opt.step(zero, state, script(*[vector(*a) for a in answers], t=t), lr)
        directions.append(moved / -lr)
    for found, expected in zip(directions, [(-1.0, 2.0), (3.0, 6.5), (2.0, 3.0), (5.5, 4.0)], strict=True):
        close(found, vector(*expected))


def test_friendly_perturbation_by_hand() -> None:
    opt = FSAM(sigma=1.0, lmbda=0.5, ascent=SAM(rho=1.0))
    theta_P = vector(0.0, 0.0)
    state = opt.init(theta_P)
    # m = (1.5, 2), (0.75, 3.5); d = g − m = (1.5, 2), (-0.75, 1.5)
    for answer, epsilon in ((vector(3.0, 4.0), vector(0.6, 0.8)), (vector(0.0, 5.0), vector(-1.0, 2.0) / math.sqrt(5))):
        oracle = Batch(lambda _, answer=answer: answer)  # type: ignore[misc]
        _, state = opt.step(theta_P, state, oracle, 0.1)
        close(oracle.asked[1], epsilon)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_block_of_clients_equals_one_by_one(case: str, momentum: float) -> None:
    K, T, B, D, C = 3, 5, 6, 3, 2
    layout = Layout(("weight", "bias"), ((C, D), (C,)))
    rng = torch.Generator().manual_seed(1)
    theta_KP = torch.randn(K, layout.total, generator=rng).double()
    x_KTBD = torch.randn(K, T, B, D, generator=rng).double()
    y_KTBC = nn.functional.one_hot(torch.randint(C, (K, T, B), generator=rng), C).double()
    opt = CASES[case][0](rho=0.3, weight_decay=0.1, momentum=momentum, **CASES[case][1])

    def train(theta_P: Tensor, x_TBD: Tensor, y_TBC: Tensor) -> Tensor:
        state = opt.init(theta_P)
        for t in range(T):

            def gradient(at_P: Tensor, t: int = t) -> Tensor:
                residual_BC = (x_TBD[t] @ at_P[: C * D].view(C, D).T + at_P[C * D :]).softmax(1) - y_TBC[t]
                return torch.cat([(residual_BC.T @ x_TBD[t]).reshape(-1), residual_BC.sum(0)]) / B

            theta_P, state = opt.step(theta_P, state, Batch(gradient, layout, t), 0.2)
        return theta_P

    alone_KP = torch.stack([train(theta_KP[k], x_KTBD[k], y_KTBC[k]) for k in range(K)])
    close(torch.func.vmap(train)(theta_KP, x_KTBD, y_KTBC), alone_KP)


@pytest.mark.parametrize("cls", FAMILY)
def test_keys_name_the_perturbation_and_its_base(cls: Any) -> None:
    name = cls().name
    keys: dict[str, Any] = {"client.name": name, "client.ascent": "asam", "client.rho": "0.5", "client.eta": "0.1"}
    keys |= {"client.base": "adamw", "client.beta1": 0.5, "client.lr": "0.02"}
    own = {"k": 3} if "k" in cls.model_fields else {}
    run = Run.from_keys({**keys, **{f"client.{key}": value for key, value in own.items()}})
    assert run.client == cls(rho=0.5, ascent="asam", eta=0.1, base="adamw", beta1=0.5, lr=0.02, **own)
    assert run.client == cls(ascent=ASAM(rho=0.5, eta=0.1, base=AdamW(beta1=0.5, lr=0.02)), **own)
    assert run.client.base_optimizer.lr == 0.02
    text = {k: str(v).lower() if v is None or isinstance(v, bool) else str(v) for k, v in run.keys().items()}
    assert Run.from_keys(run.keys()) == Run.from_keys(text) == run
    assert run.client.replace(ascent="sam") == cls(**own)


def test_alpha_is_a_number_or_adaptive() -> None:
    keys = {"client.name": "lookbehind", "client.ascent": "asam", "client.rho": 0.5, "client.k": 3}
    cases: list[tuple[Any, Any]] = [("adaptive", "adaptive"), ("0.8", 0.8), (1, 1.0)]
    for given, alpha in cases:
        run = Run.from_keys({**keys, "client.alpha": given})
        assert run.client == Lookbehind(ascent=ASAM(rho=0.5), k=3, alpha=alpha)
        assert run.keys()["client.alpha"] == alpha
        assert Run.from_keys(run.keys()) == run


@pytest.mark.parametrize(
    ("cls", "values", "field"),
    [
        *[(cls, {"ascent": wrong}, "ascent") for cls in FAMILY for wrong in ("lookbehind", "gsam", "sgd", "nothing")],
        *[(cls, {"rho": -0.1}, "rho") for cls in FAMILY],
        *[(cls, {"base": "asam"}, "base") for cls in FAMILY],
        *[(cls, {"eta": 0.1}, "eta") for cls in FAMILY],  # SAM has none
        *[(Lookbehind, {"alpha": bad}, "alpha") for bad in (0, 1.1, -1, math.nan, "fast")],
        *[(cls, {"k": bad}, "k") for cls in (Lookbehind, LookSAM) for bad in (0, -1, 1.5)],
        (Lookbehind, {"alpha": 0.5, "per_tensor": True}, "per_tensor"),
        (GSAM, {"alpha": -0.1}, "alpha"),
        (GSAM, {"k": 2}, "k"),
        (LookSAM, {"alpha": -0.1}, "alpha"),
        (FSAM, {"sigma": -0.1}, "sigma"),
        (FSAM, {"lmbda": 1.0}, "lmbda"),
        (WSAM, {"gamma": 1.0}, "gamma"),
    ],
)
def test_impossible_settings_are_refused_by_name(cls: Any, values: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as raised:
        cls(**values)
    assert raised.value.key == field
    assert "\n" not in str(raised.value)
