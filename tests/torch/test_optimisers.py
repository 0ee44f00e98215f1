"""fedsam.torch against fedsam.optim on the same batches, and against formulas; as a torch optimiser among others.

Shapes: P parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import fedsam.torch
from fedsam import InputError, optim
from fedsam.torch.wrapped import Wrapped, with_base
from tests.oracles.networks import gradients, random_network
from tests.support.optimisers import close, flat, on

pytestmark = pytest.mark.usefixtures("one_thread")

PAIRS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sam": (fedsam.torch.SAM, {"rho": 0.3}),
    "asam": (fedsam.torch.ASAM, {"rho": 0.4, "eta": 0.05}),
    "asam-all": (fedsam.torch.ASAM, {"rho": 0.4, "scaling": "all"}),
    "fsam": (fedsam.torch.FSAM, {"rho": 0.3, "sigma": 0.9, "lmbda": 0.7}),
    "gsam": (fedsam.torch.GSAM, {"rho": 0.3, "alpha": 0.6}),
    "looksam": (fedsam.torch.LookSAM, {"rho": 0.3, "k": 3}),
    "lookahead": (fedsam.torch.Lookahead, {"rho": 0.3, "k": 2, "alpha": 0.4}),
    "lookbehind": (fedsam.torch.Lookbehind, {"rho": 0.3, "k": 3, "per_tensor": True}),
    "lookbehind-asam": (fedsam.torch.Lookbehind, {"ascent": optim.ASAM(eta=0.1), "rho": 0.3, "alpha": 0.5}),
    "samon": (fedsam.torch.SAMON, {"rho": 0.3}),
    "wsam": (fedsam.torch.WSAM, {"rho": 0.3, "gamma": 0.7}),
    "wsam-coupled": (fedsam.torch.WSAM, {"rho": 0.3, "gamma": 0.7, "decouple": False}),
    "multistep": (fedsam.torch.Multistep, {"rho": 0.3, "k": 2}),
}
BASES: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "sgd": (torch.optim.SGD, {"lr": 0.1}, optim.SGD()),
    "nesterov": (
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.05},
        optim.SGD(momentum=0.8, nesterov=True, weight_decay=0.05),
    ),
    "adamw": (
        torch.optim.AdamW,
        {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.2},
        optim.AdamW(beta1=0.8, beta2=0.95, epsilon=1e-3, weight_decay=0.2),
    ),
}


def closure_of(optimizer: Wrapped, module: nn.Module, batch: tuple[Tensor, Tensor]) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(module(batch[0]), batch[1])
        loss.backward()
        return loss

    return closure


def weights(module: nn.Module) -> Tensor:
    return flat([p.detach().clone() for p in module.parameters()])


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("pair", PAIRS)
def test_numbers_of_fedsams_clients(pair: str, base: str) -> None:
    """Six steps on the same batches, in float64, with fedsam's own base instead of torch's."""
    cls, given = PAIRS[pair]
    torch_base, settings, own_base = BASES[base]
    module, batches = random_network("groupnorm")
    theta_P, oracle_module = weights(module), copy.deepcopy(module)
    optimizer = cls(module, torch_base, **given, **settings)
    client = with_base(optimizer.client, own_base)
    state = client.init(theta_P)
    for t, batch in enumerate(batches):
        theta_P, state = client.step(theta_P, state, on(oracle_module, batch, t), 0.1)
        optimizer.step(closure_of(optimizer, module, batch))
        close(weights(module), theta_P)


def test_sam_by_hand_in_two_groups() -> None:
    """One norm over both groups, each group its own learning rate: w_i ← w_i − lr_i g_i(w + ρ g / ‖g‖)."""
    module, (batch, *_) = random_network("mlp")
    before = [p.detach().clone() for p in module.parameters()]
    g = gradients(copy.deepcopy(module), before, batch)
    length = torch.sqrt(sum((part**2).sum() for part in g))
    sharp = gradients(
        copy.deepcopy(module), [w + 0.3 * part / length for w, part in zip(before, g, strict=True)], batch
    )
    wanted = [w - lr * part for w, part, lr in zip(before, sharp, [0.1, 0.1, 0.02, 0.02], strict=True)]
    groups: list[dict[str, Any]] = [
        {"params": list(module[0].parameters())},  # type: ignore[index]
        {"params": list(module[2].parameters()), "lr": 0.02},  # type: ignore[index]
    ]
    optimizer = fedsam.torch.SAM(groups, torch.optim.SGD, rho=0.3, lr=0.1)
    loss = optimizer.step(closure_of(optimizer, module, batch))
    close(weights(module), flat(wanted))
    with torch.no_grad():
        for parameter, w in zip(module.parameters(), before, strict=True):
            parameter.copy_(w)
        close(loss.detach(), cross_entropy(module(batch[0]), batch[1]))


@pytest.mark.parametrize("pair", ["fsam", "looksam", "lookahead", "sam"])
def test_goes_on_from_a_state_dictionary(pair: str) -> None:
    cls, given = PAIRS[pair]
    make = partial(cls, base=torch.optim.SGD, lr=0.1, momentum=0.9, **given)
    module, batches = random_network("mlp")
    optimizer = make(module)
    for batch in batches[:3]:
        optimizer.step(closure_of(optimizer, module, batch))
    again = copy.deepcopy(module)
    resumed = make(again)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for batch in batches[3:]:
        optimizer.step(closure_of(optimizer, module, batch))
        resumed.step(closure_of(resumed, again, batch))
    assert torch.equal(weights(module), weights(again))


def test_takes_the_state_of_its_base_alone() -> None:
    module, batches = random_network("mlp")
    plain = torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.9)
    cross_entropy(module(batches[0][0]), batches[0][1]).backward()
    plain.step()
    optimizer = fedsam.torch.SAM(module.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
    optimizer.load_state_dict(plain.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert len(optimizer.state) == 4
    assert optimizer.state is optimizer.base.state


def test_a_scheduler_changes_the_step() -> None:
    module, batches = random_network("mlp")
    optimizer = fedsam.torch.SAM(module.parameters(), torch.optim.SGD, rho=0.1, lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.0)
    optimizer.step(closure_of(optimizer, module, batches[0]))
    scheduler.step()
    before_P = weights(module)
    optimizer.step(closure_of(optimizer, module, batches[1]))
    assert torch.equal(weights(module), before_P)


def test_dropout_and_running_statistics_are_those_of_the_first_call() -> None:
    """Both gradients leave out the same units; the generator and the statistics end where one pass leaves them."""
    module = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3)).double()
    (inputs, labels), *_ = random_network("mlp")[1]
    seen: list[Tensor] = []
    module[1].register_forward_hook(lambda layer, given, made: seen.append((made == 0).detach()))
    optimizer = fedsam.torch.SAM(module, torch.optim.SGD, rho=0.5, lr=0.1)
    torch.manual_seed(3)
    other = copy.deepcopy(module)
    other(inputs)
    after, statistics = torch.get_rng_state(), other[0].running_mean
    torch.manual_seed(3)
    seen.clear()
    optimizer.step(closure_of(optimizer, module, (inputs, labels)))
    assert len(seen) == 2
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(module[0].running_mean, statistics)  # type: ignore[arg-type]
    assert int(module[0].num_batches_tracked) == 1  # type: ignore[arg-type]


def test_what_has_no_gradient_is_left_alone() -> None:
    module, batches = random_network("mlp")
    idle = nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = fedsam.torch.SAM([*module.parameters(), idle], torch.optim.SGD, lr=0.1, weight_decay=0.5)
    optimizer.step(closure_of(optimizer, module, batches[0]))
    assert torch.equal(idle, torch.ones(2, dtype=torch.float64))
    assert idle.grad is None


def test_a_closure_that_fails_leaves_the_weights() -> None:
    module, batches = random_network("mlp")
    optimizer = fedsam.torch.SAM(module.parameters(), torch.optim.SGD, rho=0.5, lr=0.1)
    right, before_P, calls = closure_of(optimizer, module, batches[0]), weights(module), []

    def closure() -> Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return right()

    with pytest.raises(RuntimeError, match="out of memory"):
        optimizer.step(closure)
    assert torch.equal(weights(module), before_P)


def test_refusals() -> None:
    module, batches = random_network("mlp")
    closure = partial(cross_entropy, module(batches[0][0]), batches[0][1])
    with pytest.raises(InputError, match=r"closure: must be given"):
        fedsam.torch.SAM(module.parameters(), torch.optim.SGD, lr=0.1).step()
    with pytest.raises(InputError, match=r"named_parameters\(\), or scaling"):
        fedsam.torch.ASAM(module.parameters(), torch.optim.SGD, lr=0.1).step(closure)
    with pytest.raises(InputError, match=r"rho = -1"):
        fedsam.torch.SAM(module.parameters(), torch.optim.SGD, rho=-1, lr=0.1)
    with pytest.raises(InputError, match="rounds of a run"):
        Wrapped(module, torch.optim.SGD, optim.Late(), {"lr": 0.1}).step(closure)
    keeps = fedsam.torch.FSAM(module.named_parameters(), torch.optim.SGD, lr=0.1)
    keeps.step(closure_of(keeps, module, batches[0]))
    with pytest.raises(InputError, match="before the first step"):
        keeps.add_param_group({"params": [("more", nn.Parameter(torch.ones(1)))]})


def test_groups_can_be_added() -> None:
    module, batches = random_network("mlp")
    optimizer = fedsam.torch.SAM(module[0].parameters(), torch.optim.SGD, lr=0.1)  # type: ignore[index]
    optimizer.add_param_group({"params": module[2].parameters(), "lr": 0.5})  # type: ignore[index]
    before_P = weights(module)
    optimizer.step(closure_of(optimizer, module, batches[0]))
    assert (weights(module) != before_P).all()
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.5]


def test_what_normalises_only_the_module_says() -> None:
    module, _ = random_network("groupnorm")
    with pytest.raises(InputError, match="must be the module itself"):
        fedsam.torch.SAMON(module.named_parameters(), lr=0.1)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no layers that normalise"):
        fedsam.torch.SAMON(random_network("mlp")[0], lr=0.1)
