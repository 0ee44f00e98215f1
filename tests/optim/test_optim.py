"""Client optimisers against slow oracles, and the identities that the papers promise.

Shapes: P parameters, K clients, T steps, B batch, D inputs, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import vmap

from fedsam.config import find, names
from fedsam.errors import InputError
from fedsam.optim.adamw import AdamW
from fedsam.optim.asam import ASAM
from fedsam.optim.base import BaseOptimizer, ClientOptimizer, State
from fedsam.optim.sam import SAM
from fedsam.optim.sgd import SGD
from fedsam.params import Layout
from tests.oracles import asam, sam
from tests.oracles.descent import Descent
from tests.oracles.networks import NETWORKS, gradients, random_network
from tests.oracles.points import Points
from tests.support.optimisers import BASES, TWO, close, flat, network_oracle, vector

pytestmark = pytest.mark.usefixtures("one_thread")
KIND: Any = ClientOptimizer
OPTIMIZERS: list[Any] = [find(KIND, name) for name in names(KIND)]
SHARP = [cls for cls in OPTIMIZERS if "rho" in cls.model_fields]
BASE = [cls for cls in OPTIMIZERS if issubclass(cls, BaseOptimizer)]


def constant(*numbers: float, layout: Layout = TWO) -> Points:
    """The oracle of a linear loss: the same gradient everywhere."""
    return Points(lambda theta_P: vector(*numbers), layout)


@pytest.mark.parametrize("method", ["base", "sam", "asam-weights", "asam-all"])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("network", NETWORKS)
def test_steps_equal_the_oracle(network: str, base: str, method: str) -> None:
    module, batches = random_network(network)
    parameters = [n for n, _ in module.named_parameters()]
    weights = [p.detach().clone() for p in module.parameters()]
    cls, values = BASES[base]
    make: dict[str, Callable[[], ClientOptimizer]] = {
        "base": lambda: cls(**values),
        "sam": lambda: SAM(rho=0.3, base=cls(**values)),
        "asam-weights": lambda: ASAM(rho=0.4, scaling="weights", eta=0.05, base=cls(**values)),
        "asam-all": lambda: ASAM(rho=0.4, scaling="all", base=cls(**values)),
    }
    opt = make[method]()
    reference = Descent(cls.__name__, weights, **values)
    theta_P = flat(weights)
    state = opt.init(theta_P)
    for t, batch in enumerate(batches):
        lr = 0.2 / (t + 1)
        theta_P, state = opt.step(theta_P, state, network_oracle(module, batch), lr)

        def at(tensors: list[Tensor], batch: tuple[Tensor, Tensor] = batch) -> list[Tensor]:
            return gradients(module, tensors, batch)

        w = reference.weights
        sharp = {
            "base": lambda w=w: at(w),
            "sam": lambda w=w: sam.sharp_gradients(w, at, 0.3),
            "asam-weights": lambda w=w: asam.sharp_gradients(parameters, w, at, 0.4, "weights", 0.05),
            "asam-all": lambda w=w: asam.sharp_gradients(parameters, w, at, 0.4, "all", math.nan),
        }[method]()
        reference.step(sharp, lr)
        close(theta_P, flat(reference.weights))
    assert (reference.times_clipped > 0) == ("clip_norm" in values)
    assert (theta_P - flat(weights)).abs().max() > 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("cls", SHARP, ids=lambda cls: cls.__name__)
def test_rho_zero_is_the_base_bit_for_bit(cls: Any, base: str, dtype: torch.dtype) -> None:
    module, batches = random_network("groupnorm")
    module = module.to(dtype)
    base_optimizer = BASES[base][0](**BASES[base][1])
    sharp = cls(rho=0, base=base_optimizer)
    theta_P = flat([p.detach() for p in module.parameters()])
    both = [(sharp, theta_P, sharp.init(theta_P)), (base_optimizer, theta_P, base_optimizer.init(theta_P))]
    for inputs, labels in batches:
        batch = inputs.to(dtype), labels
        both = [(opt, *opt.step(theta, state, network_oracle(module, batch), 0.1)) for opt, theta, state in both]
        assert torch.equal(both[0][1], both[1][1])
        assert both[0][2].keys() == both[1][2].keys()
        assert all(torch.equal(both[0][2][name], both[1][2][name]) for name in both[0][2])
    assert both[0][1].dtype == dtype
    assert not torch.equal(both[0][1], theta_P)


def test_the_identity_at_rho_zero_is_tested_for_every_base_there_is() -> None:
    assert {cls for cls, _ in BASES.values()} == set(BASE)
    assert {SAM, ASAM} <= set(SHARP)


@pytest.mark.parametrize("base", [SGD, AdamW])
def test_weight_decay_is_taken_at_the_unperturbed_weights(base: Any) -> None:
    theta_P, oracle = vector(2.0, -1.0), constant(3.0, 4.0)
    opt = SAM(rho=0.5, base=base(weight_decay=0.1))
    without = SAM(rho=0.5, base=base(weight_decay=0.0))
    decayed, _ = opt.step(theta_P, opt.init(theta_P), oracle, 0.2)
    plain, _ = without.step(theta_P, without.init(theta_P), oracle, 0.2)
    # at w + ε, with ε = (0.3, 0.4), it would be larger by lr · λ · ε = (0.006, 0.008)
    close(decayed - plain, -0.2 * 0.1 * theta_P)


def test_momentum_by_hand() -> None:
    theta_P, oracle = vector(1.0, 1.0), constant(1.0, -2.0)
    opt = SGD(momentum=0.5)
    state = opt.init(theta_P)
    for expected in (vector(0.9, 1.2), vector(0.75, 1.5), vector(0.575, 1.85)):  # 1, 1.5, 1.75 times lr · g
        theta_P, state = opt.step(theta_P, state, oracle, 0.1)
        close(theta_P, expected)


def test_one_global_norm() -> None:
    layout = Layout(("a.weight", "a.bias", "b.weight"), ((2,), (1,), (1,)))
    theta_P, g_P = vector(1.0, 1.0, 1.0, 1.0), (3.0, 4.0, 12.0, 84.0)  # norms 5, 12, 84: together 85, their sum 101
    for opt in (SAM(rho=0.5), ASAM(rho=0.5, scaling="all"), ASAM(rho=0.5, eta=0.0)):
        oracle = constant(*g_P, layout=layout)
        opt.step(theta_P, opt.init(theta_P), oracle, 0.1)
        close(oracle.epsilon, 0.5 * vector(*g_P) / 85)
        assert len(oracle.asked) == 2
        faint = constant(*[g * 1e-8 for g in g_P], layout=layout)
        opt.step(theta_P, opt.init(theta_P), faint, 0.1)
        close(faint.epsilon, oracle.epsilon, 1e-9)  # 1e-16 in the denominator is too small to shorten it


def test_clipping_has_one_global_norm_and_spares_small_gradients() -> None:
    theta_P, oracle = vector(0.0, 0.0), constant(3.0, 4.0)
    clipped, _ = SGD(clip_norm=2.5).step(theta_P, {}, oracle, 1.0)
    close(clipped, vector(-1.5, -2.0))
    free, _ = SGD().step(theta_P, {}, oracle, 1.0)
    for limit in (5.0, 7.5):
        assert torch.equal(SGD(clip_norm=limit).step(theta_P, {}, oracle, 1.0)[0], free)
    decayed, _ = SGD(clip_norm=2.5, weight_decay=1.0).step(vector(6.0, 8.0), {}, oracle, 1.0)
    close(decayed, vector(-1.5, -2.0))  # the decay is not clipped


numbers = st.floats(-10, 10).filter(lambda x: abs(x) > 1e-3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=5), st.floats(1e-3, 10), st.floats(1e-3, 2.0)
)
def test_length_of_the_perturbation(drawn: list[tuple[float, float, float]], rho: float, eta: float) -> None:
    n = len(drawn)
    layout = Layout(("net.weight", "net.bias"), ((n,), (1,)))
    w_P, g_P = vector(*[w for w, _, _ in drawn], 2.0), [g for _, g, _ in drawn] + [1.0]
    weights_T, ones_T = torch.cat([w_P[:n].abs() + eta, vector(1.0)]), torch.ones(n + 1, dtype=torch.float64)
    cases = [
        (SAM(rho=rho), ones_T),
        (ASAM(rho=rho, scaling="weights", eta=eta), weights_T),
        (ASAM(rho=rho, scaling="all"), w_P.abs()),
    ]
    for opt, scale_P in cases:
        oracle = constant(*g_P, layout=layout)
        opt.step(w_P, opt.init(w_P), oracle, 0.1)
        assert float((oracle.epsilon / scale_P).norm()) == pytest.approx(rho, rel=1e-9)
        cosine = torch.dot(oracle.epsilon, scale_P**2 * vector(*g_P))
        assert float(cosine) > 0  # uphill


def test_biases_are_not_scaled_and_eta_is_for_weights_alone() -> None:
    theta_P = vector(-3.0, 5.0)
    oracle = constant(1.0, 1.0)
    opt = ASAM(rho=1.0, scaling="weights", eta=1.0)
    opt.step(theta_P, opt.init(theta_P), oracle, 0.1)
    close(oracle.epsilon, vector(16.0, 1.0) / math.sqrt(17))  # T = (|-3| + 1, 1)
    oracle = constant(1.0, 1.0)
    opt = ASAM(rho=1.0, scaling="all")
    opt.step(theta_P, opt.init(theta_P), oracle, 0.1)
    close(oracle.epsilon, vector(9.0, 25.0) / math.sqrt(34))  # T = (3, 5)


def test_eta_is_a_fifth_unless_given() -> None:
    theta_P = vector(1.0, 1.0)
    points = []
    for opt in (ASAM(rho=1.0), ASAM(rho=1.0, scaling="weights", eta=0.2)):
        oracle = constant(1.0, 1.0)
        opt.step(theta_P, opt.init(theta_P), oracle, 0.1)
        points.append(oracle.epsilon)
    assert torch.equal(*points)
    close(points[0], vector(1.44, 1.0) / math.sqrt(2.44))


def test_without_biases_weights_at_eta_zero_is_all() -> None:
    layout = Layout(("a.weight", "b.weight"), ((2,), (1,)))
    points = []
    for opt in (ASAM(rho=0.7, scaling="weights", eta=0.0), ASAM(rho=0.7, scaling="all")):
        oracle = constant(0.3, -2.0, 1.0, layout=layout)
        opt.step(vector(0.5, -1.5, 0.0), opt.init(vector(0.5, -1.5, 0.0)), oracle, 0.1)
        points.append(oracle.epsilon)
    assert torch.equal(*points)


def rescaled(c: float, opt: ClientOptimizer) -> tuple[float, float, Tensor]:
    """L(w), L(w + ε) and ε of a ReLU network W₂ relu(W₁ x) whose W₁ is multiplied and W₂ divided by c."""
    module = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
    rng = torch.Generator().manual_seed(3)
    first, second = torch.randn(48, generator=rng).double() * 0.5, torch.randn(24, generator=rng).double() * 0.5
    batch = torch.randn(7, 6, generator=rng).double(), torch.randint(3, (7,), generator=rng)
    oracle = network_oracle(module, batch)
    theta_P = torch.cat([first * c, second / c])
    opt.step(theta_P, opt.init(theta_P), oracle, 0.1)
    losses = []
    for point in oracle.asked:
        w1, w2 = oracle.layout.views(point).values()
        losses.append(float(nn.functional.cross_entropy(torch.relu(batch[0] @ w1.T) @ w2.T, batch[1])))
    return losses[0], losses[1], oracle.epsilon


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3))
def test_asam_is_invariant_when_layers_are_rescaled(exponent: float) -> None:
    c = 10**exponent
    for opt in (ASAM(rho=0.8, scaling="all"), ASAM(rho=0.8, scaling="weights", eta=0.0)):
        plain, sharp, epsilon_P = rescaled(1.0, opt)
        plain_c, sharp_c, epsilon_c_P = rescaled(c, opt)
        assert plain_c == pytest.approx(plain, rel=1e-10)
        assert sharp_c == pytest.approx(sharp, rel=1e-10)
        expected_P = torch.cat([epsilon_P[:48] * c, epsilon_P[48:] / c])
        torch.testing.assert_close(epsilon_c_P, expected_P, rtol=1e-8, atol=1e-12 * max(c, 1 / c))
        assert sharp > plain + 0.1


@pytest.mark.parametrize("opt", [SAM(rho=0.2), ASAM(rho=0.8, scaling="weights", eta=0.2)], ids=["sam", "eta"])
@pytest.mark.parametrize("c", [0.1, 10.0])
def test_sam_and_eta_are_not_invariant(opt: ClientOptimizer, c: float) -> None:
    plain, sharp, _ = rescaled(1.0, opt)
    plain_c, sharp_c, _ = rescaled(c, opt)
    assert plain_c == pytest.approx(plain, rel=1e-10)
    assert abs(sharp_c - sharp) > 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_a_zero_gradient_leaves_the_weights(cls: Any, dtype: torch.dtype, weight: float) -> None:
    theta_P = torch.full((2,), weight, dtype=dtype)
    for opt in (cls(), cls(clip_norm=1.0), *([ASAM(scaling="all")] if cls is ASAM else [])):
        oracle = Points(torch.zeros_like, TWO)
        new_P, _ = opt.step(theta_P, opt.init(theta_P), oracle, 0.1)
        assert all(torch.equal(point_P, theta_P) for point_P in oracle.asked)  # a NaN ε hides behind this oracle
        close(new_P, theta_P * (1 - 0.1 * opt.base_optimizer.weight_decay), 1e-6)


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.__name__)
def test_a_step_changes_none_of_its_arguments(cls: Any) -> None:
    opt = cls(weight_decay=0.1, clip_norm=0.5, **({"momentum": 0.9} if cls().base_optimizer.name == "sgd" else {}))
    start_P, gradient_P = vector(1.0, -2.0), vector(3.0, 4.0)
    theta_P, state, kept = start_P, opt.init(start_P), []
    for _ in range(3):
        before: tuple[Tensor, State] = theta_P.clone(), {k: v.clone() for k, v in state.items()}
        kept.append((theta_P, state, before))
        theta_P, state = opt.step(theta_P, state, Points(lambda _: gradient_P, TWO), 0.1)
    for old_P, old_state, (was_P, was_state) in kept:
        assert torch.equal(old_P, was_P)
        assert old_state.keys() == was_state.keys() == state.keys()
        assert all(torch.equal(old_state[name], was_state[name]) for name in was_state)
        assert all(old_state[name].dtype == state[name].dtype for name in state)
    assert torch.equal(gradient_P, vector(3.0, 4.0))


@pytest.mark.parametrize("keys", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=str)
@pytest.mark.parametrize("several", [False, True], ids=["alone", "a block, each at its rate"])
def test_sgd_makes_a_new_vector_of_a_gradient_that_others_hold(keys: dict[str, Any], several: bool) -> None:
    opt, rows = SGD(**keys), (3,) if several else ()
    theta_P, gradient_P, velocity_P = (torch.randn(*rows, 5, dtype=torch.float64) for _ in range(3))
    state, lr = {"momentum": velocity_P} if keys else {}, torch.rand(rows, dtype=torch.float64) if several else 0.3
    given = theta_P, gradient_P, velocity_P
    before = [tensor.clone() for tensor in given]
    descend = vmap(opt.descend, in_dims=(0, 0, 0, 0)) if several else opt.descend
    new_P, new_state = descend(theta_P, state, gradient_P, lr)
    assert all(torch.equal(tensor, was) for tensor, was in zip(given, before, strict=True))
    along_P = 0.9 * velocity_P + gradient_P if keys else gradient_P
    if keys:
        assert torch.equal(new_state["momentum"], along_P)
    along_P = gradient_P + 0.9 * along_P if "nesterov" in keys else along_P
    rate = lr[:, None] if isinstance(lr, Tensor) else lr
    close(new_P, theta_P - rate * along_P)


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.__name__)
def test_a_block_of_clients_equals_one_by_one(cls: Any) -> None:
    K, T, B, D, C = 4, 5, 6, 3, 2
    layout = Layout(("weight", "bias"), ((C, D), (C,)))
    rng = torch.Generator().manual_seed(1)
    theta_KP = torch.randn(K, layout.total, generator=rng).double()
    x_KTBD = torch.randn(K, T, B, D, generator=rng).double()
    y_KTBC = nn.functional.one_hot(torch.randint(C, (K, T, B), generator=rng), C).double()
    lr_K = torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    opt = cls(weight_decay=0.1, clip_norm=0.3, **({"momentum": 0.9} if cls().base_optimizer.name == "sgd" else {}))

    def train(theta_P: Tensor, x_TBD: Tensor, y_TBC: Tensor, lr: Tensor) -> Tensor:
        state = opt.init(theta_P)
        for t in range(T):

            def gradient(at_P: Tensor, t: int = t) -> Tensor:  # of softmax regression, by hand
                residual_BC = (x_TBD[t] @ at_P[: C * D].view(C, D).T + at_P[C * D :]).softmax(1) - y_TBC[t]
                return torch.cat([(residual_BC.T @ x_TBD[t]).reshape(-1), residual_BC.sum(0)]) / B

            theta_P, state = opt.step(theta_P, state, Points(gradient, layout), lr)
        return theta_P

    together_KP = torch.func.vmap(train)(theta_KP, x_KTBD, y_KTBC, lr_K)
    alone_KP = torch.stack([train(theta_KP[k], x_KTBD[k], y_KTBC[k], lr_K[k]) for k in range(K)])
    close(together_KP, alone_KP)
    floats_KP = torch.stack([train(theta_KP[k], x_KTBD[k], y_KTBC[k], float(lr_K[k])) for k in range(K)])  # type: ignore[arg-type]
    close(floats_KP, alone_KP)


def test_keys_of_the_base_may_be_given_directly() -> None:
    loose: list[dict[str, Any]] = [{"lr": 0.1, "momentum": 0.9}, {"base": "adamw", "beta1": 0.5}]
    assert ASAM(rho=0.7, **loose[0]) == ASAM(rho=0.7, base=SGD(lr=0.1, momentum=0.9))
    assert SAM(rho=0.7, **loose[1]) == SAM(rho=0.7, base=AdamW(beta1=0.5))
    assert SAM(**loose[0]).base_optimizer.lr == 0.1


@pytest.mark.parametrize(
    ("cls", "values", "field"),
    [
        *[(cls, {"rho": bad}, "rho") for cls in SHARP for bad in (-0.1, math.nan, math.inf, "x")],
        *[(cls, {"rhoo": 1.0}, "rhoo") for cls in OPTIMIZERS],
        *[(cls, {"lr": 0.0}, "lr") for cls in OPTIMIZERS],
        (ASAM, {"scaling": "all", "eta": 0.2}, "eta"),
        (ASAM, {"scaling": "all", "eta": 0.0}, "eta"),
        (ASAM, {"eta": -0.1}, "eta"),
        (ASAM, {"eta": math.nan}, "eta"),
        (ASAM, {"scaling": "layer"}, "scaling"),
        (SGD, {"nesterov": True}, "nesterov"),
        (SAM, {"nesterov": True}, "nesterov"),
        (SGD, {"momentum": -0.1}, "momentum"),
        (SGD, {"weight_decay": -1e-4}, "weight_decay"),
        (SGD, {"clip_norm": 0.0}, "clip_norm"),
        (SGD, {"batch_size": 0}, "batch_size"),
        (SGD, {"epochs": 1.5}, "epochs"),
        (AdamW, {"beta1": 1.0}, "beta1"),
        (AdamW, {"beta2": 1.0}, "beta2"),
        (AdamW, {"epsilon": -1.0}, "epsilon"),
        (SAM, {"base": "asam"}, "base"),
    ],
)
def test_impossible_settings_are_refused_by_name(cls: Any, values: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as raised:
        cls(**values)
    assert raised.value.key == field
    assert str(raised.value).startswith(field)
    assert "\n" not in str(raised.value)
