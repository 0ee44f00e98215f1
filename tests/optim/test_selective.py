"""SAM-ON and ESAM: which parameters are perturbed, and which examples are descended along."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fedsam import InputError, Run
from fedsam.algorithm.client_hooks import ClientContext
from fedsam.engine.train_client import BatchOracle, Step
from fedsam.federated.round_loop import Simulation
from fedsam.optim.asam import ASAM
from fedsam.optim.esam import ESAM, KEYS
from fedsam.optim.sam import SAM
from fedsam.optim.samon import SAMON
from fedsam.params import layout_of
from fedsam.rng import stream
from fedsam.schedule.base import Clock
from tests.oracles import asam, esam, sam, samon
from tests.oracles.descent import Descent
from tests.oracles.networks import gradients, random_network
from tests.support.discovered import ENGINES
from tests.support.optimisers import BASES, Batch, close, flat, on, same, walk
from tests.support.ragged import Ragged

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("layers", ["norm", "others"])
@pytest.mark.parametrize("base", ["momentum", "adamw"])
def test_norm_layers_alone_are_perturbed(layers: Any, base: str) -> None:
    module, batches = random_network("groupnorm")
    names, weights = [n for n, _ in module.named_parameters()], [p.detach().clone() for p in module.parameters()]
    norms = {"1.weight", "1.bias"}
    perturbed = norms if layers == "norm" else set(names) - norms
    cls, values = BASES[base]
    opt, reference = SAMON(rho=0.3, layers=layers, base=cls(**values)), Descent(cls.__name__, weights, **values)
    theta_P = flat(weights)
    state = opt.init(theta_P)
    for t, batch in enumerate(batches):
        theta_P, state = opt.step(theta_P, state, on(module, batch, t), 0.2)
        w = reference.weights
        epsilon = samon.epsilon(names, gradients(module, w, batch), perturbed, 0.3)
        reference.step(gradients(module, [a + e for a, e in zip(w, epsilon, strict=True)], batch), 0.2)
        close(theta_P, flat(reference.weights))
    assert not same(walk(opt, torch.float64), walk(SAM(rho=0.3, base=cls(**values)), torch.float64))


class Strange(nn.RMSNorm):
    """Somebody's own, of a class whose name does not say it."""


def test_which_layers_normalise() -> None:
    module = nn.ModuleDict(
        {
            "conv": nn.Conv2d(3, 4, 3),
            "a": nn.BatchNorm2d(4),
            "b": nn.LayerNorm(4),
            "c": nn.GroupNorm(2, 4),
            "d": nn.InstanceNorm2d(4, affine=True),
            "e": Strange(4),
            "f": nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False)),
        }
    )
    norms = layout_of(module).norms
    assert set(norms) == {"a.weight", "a.bias", "b.weight", "b.bias", "c.weight", "c.bias", "d.weight", "d.bias"} | {
        "e.weight"
    }
    module["a"].weight.requires_grad_(False)
    assert "a.weight" not in layout_of(module).norms


@pytest.mark.parametrize("client", [{"client.name": "samon"}, {"client.name": "gsam", "client.ascent": "samon"}])
def test_a_model_without_norm_layers_is_refused(client: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^client\.name = samon: this model has no layers that normalise") as raised:
        Simulation(Run.from_keys({**client, "data": Ragged()}))
    assert "\n" not in str(raised.value)
    Simulation(Run.from_keys({**client, "data": Ragged(), "client.layers": "others"}))
    Simulation(Run.from_keys({**client, "data": Ragged(), "model.name": "tests.support.normalised:net"}))


class Examples(Batch):
    """An oracle of a batch whose examples can be left out; which tensors are drawn is given."""

    def __init__(self, module: nn.Module, batch: tuple[Tensor, Tensor], drawn: list[bool]) -> None:
        super().__init__(lambda theta_P: flat(gradients(module, self.tensors(theta_P), self.batch)), layout_of(module))
        self.module, self.batch, self.chosen = module, batch, drawn

    def tensors(self, theta_P: Tensor) -> list[Tensor]:
        return [view.clone() for view in self.layout.views(theta_P).values()]

    def losses(self, tensors: list[Tensor]) -> list[float]:
        gradients(self.module, tensors, self.batch)  # puts the weights in
        with torch.no_grad():
            found: list[float] = F.cross_entropy(self.module(self.batch[0]), self.batch[1], reduction="none").tolist()
        return found

    def drawn(self, name: str, share: float) -> Tensor:
        names = [n for n, inside in zip(self.layout.names, self.chosen, strict=True) if inside]
        return self.layout.where(names)

    def select(self, before_P: Tensor, after_P: Tensor, share: float) -> None:
        both = self.losses(self.tensors(before_P)), self.losses(self.tensors(after_P))
        kept = esam.sensitive(*both, share)
        self.batch = self.batch[0][kept], self.batch[1][kept]


@pytest.mark.parametrize("ascent", ["sam", "asam"])
@pytest.mark.parametrize(("beta", "gamma"), [(0.6, 0.5), (1.0, 0.4), (0.5, 1.0), (0.7, 0.01)])
def test_esam_against_its_transcription(ascent: str, beta: float, gamma: float) -> None:
    module, batches = random_network("mlp")
    names, weights = [n for n, _ in module.named_parameters()], [p.detach().clone() for p in module.parameters()]
    base, values = BASES["momentum"]
    held = SAM(rho=0.3, base=base(**values)) if ascent == "sam" else ASAM(rho=0.4, eta=0.05, base=base(**values))
    opt, reference = ESAM(ascent=held, beta=beta, gamma=gamma), Descent("SGD", weights, **values)

    def perturb(w: list[Tensor], g: list[Tensor]) -> list[Tensor]:
        return sam.epsilon(g, 0.3) if ascent == "sam" else asam.epsilon(asam.scale(names, w, "weights", 0.05), g, 0.4)

    theta_P, rng, sizes = flat(weights), np.random.default_rng(3), set()
    state = opt.init(theta_P)
    for batch in batches:
        drawn = [beta == 1 or bool(u < beta) for u in rng.random(len(names))]
        theta_P, state = opt.step(theta_P, state, Examples(module, batch, drawn), 0.2)

        def of(w: list[Tensor], rows: list[int], batch: tuple[Tensor, Tensor] = batch) -> list[Tensor]:
            return gradients(module, w, (batch[0][rows], batch[1][rows]))

        losses = Examples(module, batch, drawn).losses
        sizes.add(len(esam.step(reference, losses, of, perturb, drawn, beta, gamma, 0.2)))
        close(theta_P, flat(reference.weights), 1e-10)
    assert sizes == {max(1, int(gamma * 5))}


def described(engine: str = "loop", **changes: Any) -> Run:
    keys = {"data": Ragged(), "model.width": 16, "cohort": 7, "rounds": 3, "client.lr": 0.1, "client.batch_size": 4}
    return Run.from_keys({**keys, "engine.name": engine, "engine.threads": 1, "engine.precision": "fp64", **changes})


def models(run: Run) -> list[Tensor]:
    simulation = Simulation(run)
    found = []
    for _ in range(run.rounds):
        simulation.advance()
        found.append(simulation.theta_P.clone())
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_esam_in_a_run_is_sam_or_the_base_at_its_ends(engine: str) -> None:
    keys: dict[str, Any] = {"client.name": "esam", "client.rho": 0.3}
    whole = models(described(engine, **keys, **{"client.beta": 1.0, "client.gamma": 1.0}))
    assert same(whole, models(described(engine, **{**keys, "client.name": "sam"})))
    for share in ({"client.beta": 0.5}, {"client.gamma": 0.5}):
        one = {"client.beta": 1.0, "client.gamma": 1.0} | share
        assert (models(described(engine, **keys, **one))[-1] - whole[-1]).norm() > 1e-4
    unperturbed = models(described(engine, **{**keys, "client.rho": 0.0}))
    assert same(unperturbed, models(described(engine, **{"client.name": "sgd"})))


@pytest.mark.parametrize("engine", ENGINES)
def test_examples_are_selected_among_the_valid_ones(engine: str) -> None:
    """A client's round by hand: ε of all parameters, and the mean over the half whose loss rises most."""
    keys = {"client.name": "esam", "client.rho": 0.5, "client.beta": 1.0, "client.gamma": 0.5}
    run = described(engine, **keys, **{"client.batch_size": 8})  # of 5 of 8 examples two stay, and no filling
    simulation = Simulation(run)
    context, order = simulation.context, simulation.order(simulation.clock(), 0.1)
    store, plans = context.plan(simulation.federation, order)
    blocks = list(simulation.trainer.train(simulation.theta_P, order))
    for row in range(7):
        theta_P, plan = simulation.theta_P.clone(), plans[row]
        for t, count in enumerate(plan.count_T.tolist()):
            index = plan.index_TB[t, :count]
            inputs = (torch.from_numpy(store.inputs[index]).double().permute(0, 3, 1, 2) / 255 - 0.4) / 0.3
            labels = torch.from_numpy(store.targets[index])

            def losses(at_P: Tensor, x: Tensor = inputs, y: Tensor = labels) -> Tensor:
                logits = torch.func.functional_call(context.module, context.layout.views(at_P), (x,))
                return F.cross_entropy(logits, y, reduction="none")

            def gradient(at_P: Tensor, rows: list[int], of: Any = losses) -> Tensor:
                leaf = at_P.clone().requires_grad_()
                return torch.autograd.grad(of(leaf)[rows].mean(), leaf)[0]

            g = gradient(theta_P, list(range(count)))
            there = theta_P + 0.5 * g / g.norm()
            chosen = esam.sensitive(losses(theta_P).tolist(), losses(there).tolist(), 0.5)
            assert len(chosen) == max(1, count // 2)
            theta_P = theta_P - 0.1 * gradient(there, chosen)
        block = next(block for block in blocks if order.ids[row] in block.ids)
        found_P = simulation.theta_P + block.update_JP[block.ids.index(order.ids[row])]
        torch.testing.assert_close(found_P, theta_P, rtol=1e-9, atol=1e-11)


def test_tensors_are_drawn_whole_each_with_its_probability_and_anew_in_every_step() -> None:
    simulation = Simulation(described(**{"client.name": "esam", "model.depth": 3}))
    context = simulation.context
    order = simulation.order(simulation.clock(), 0.1)
    keys = ESAM().draw(stream(0, "test"), np.full(500, 4), 4, (8, 8, 1))[KEYS]
    assert keys.shape == (500, 4, 2)
    assert (keys == keys[:, :1]).all()
    store, plans = context.plan(simulation.federation, order)
    assert not np.array_equal(plans[5].draws[KEYS][0], plans[6].draws[KEYS][0])
    client = partial(BatchOracle, context, context.store(store))
    masks = []
    for row in range(500):
        step = Step(torch.tensor([0]), 1.0, {KEYS: torch.from_numpy(keys[row])})
        oracle = client(step, 0, beginning(simulation))
        mask_P = oracle.drawn(KEYS, 0.6)
        parts = torch.split(mask_P, context.layout.sizes)
        assert all(bool(part.all()) or not bool(part.any()) for part in parts)
        assert torch.equal(mask_P, oracle.drawn(KEYS, 0.6))
        masks.append([float(part[0]) for part in parts])
    drawn = np.array(masks)
    assert drawn.mean() == pytest.approx(0.6, abs=0.03)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.6, atol=0.1)
    correlation = np.corrcoef(drawn.T) - np.eye(drawn.shape[1])
    assert np.abs(correlation).max() < 0.2


def beginning(simulation: Simulation) -> ClientContext:
    return ClientContext(simulation.theta_P, {}, {}, 1.0, 0.1, simulation.context.optimizer, Clock(0, 1))
