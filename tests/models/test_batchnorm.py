"""Batch normalisation: against torch's own layers, and what becomes of the running statistics in a federation."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.optim.swa_utils import update_bn

from fedsam import Run, resume, simulate
from fedsam.errors import Interrupted
from fedsam.federated.batchnorm import Statistics, public_images
from fedsam.federated.round_loop import Simulation
from fedsam.models.batchnorm import NAME, batchnorms_of, replace_layers
from fedsam.models.functional import Network
from fedsam.params import layout_of, theta_of
from tests.support.discovered import ENGINES, OTHERS, SLOWEST
from tests.support.interrupted import StopAt, outcome
from tests.support.normalised import COUNT, described, net
from tests.support.ragged import Ragged
from tests.support.unruly import Broken

HERE = __name__


def by_hand(run: Run, simulation: Simulation, module: nn.Module, client: int) -> Tensor:
    """A client's round with torch's own layers and optimiser, where statistics stand still in SAM's second pass; the
    mean of the losses at the weights before each step. The last batch of a client may hold one image, which torch
    refuses for a layer without images: no such client here."""
    order = simulation.order(simulation.clock(), run.client.base_optimizer.lr).part([0])
    order = type(order)(
        order.round, order.lr, [client], order.weight_K, sent=order.sent, client_state=order.client_state
    )
    store, (plan,) = simulation.context.plan(simulation.federation, order)
    optimizer = torch.optim.SGD(module.parameters(), lr=run.client.base_optimizer.lr, momentum=0.5)
    module.train()
    layers = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    losses = []
    for t, count in enumerate(plan.count_T.tolist()):
        index = plan.index_TB[t, :count]
        images = torch.from_numpy(store.inputs[index]).double().permute(0, 3, 1, 2)
        inputs, labels = (images / 255 - 0.4) / 0.3, torch.from_numpy(store.targets[index])
        loss = F.cross_entropy(module(inputs), labels)
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        norm = torch.sqrt(sum((g**2).sum() for g in gradients))
        before = [parameter.detach().clone() for parameter in module.parameters()]
        kept = [copy.deepcopy(dict(layer.named_buffers())) for layer in layers]
        with torch.no_grad():
            for parameter, g in zip(module.parameters(), gradients, strict=True):
                parameter.add_(0.3 * g / norm)
        optimizer.zero_grad()
        F.cross_entropy(module(inputs), labels).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter, value in zip(module.parameters(), before, strict=True):
                parameter.copy_(value)
        for layer, buffers in zip(layers, kept, strict=True):
            for name, value in buffers.items():
                setattr(layer, name, value)
        optimizer.step()
        losses.append(loss.detach() * count)
    return torch.stack(losses).sum() / plan.count_T.sum()


def torch_net(simulation: Simulation, momentum: float) -> nn.Module:
    """Torch's own module with the run's initial weights."""
    module = net(1, 3, momentum).double()
    state = {name: tensor.clone() for name, tensor in simulation.context.module.state_dict().items()}
    module.load_state_dict(state)
    return module


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("momentum", [0.1, 0.0])
def test_a_round_is_that_of_torchs_own_layers(engine: str, momentum: float) -> None:
    run = described(engine, **{"model.momentum": momentum, "cohort": 7, "client.epochs": 2})
    simulation = Simulation(run)
    order = simulation.order(simulation.clock(), 0.05)
    rows = [row for row, client in enumerate(order.ids) if client in (2, 5)]  # 4 and 16 images: no batch of one
    theta_P, norms = simulation.theta_P, simulation.context.batchnorms
    assert norms is not None
    found = list(simulation.trainer.train(theta_P, order.part(rows)))
    sent = sum((block.uploads[NAME] for block in found), torch.zeros(norms.total).double())
    expected = torch.zeros_like(sent)
    for client in (2, 5):
        module = torch_net(simulation, momentum)
        loss = by_hand(run, simulation, module, client)
        block = next(block for block in found if client in block.ids)
        row = block.ids.index(client)
        torch.testing.assert_close(theta_P + block.update_JP[row], theta_of(module), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(block.loss_K[row], loss, rtol=1e-10, atol=1e-12)
        weight = order.weight_K[order.ids.index(client)]
        expected += weight * norms.vector(dict(module.named_buffers()), theta_P)
    torch.testing.assert_close(sent, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("batchnorm", ["average", "local"])
@pytest.mark.parametrize(
    "server", [{"server.name": "fedavg"}, {"server.name": "scaffold"}, {"client.persistent": True}]
)
def test_engines_agree_on_ragged_clients(batchnorm: str, server: dict[str, Any], engine: str) -> None:
    """Where the last batch of a client has one image or padding, too."""
    one, other = (simulate(described(name, **server, **{"server.batchnorm": batchnorm})) for name in (SLOWEST, engine))
    assert one.state[COUNT].dtype == torch.int64
    for name, tensor in one.state.items():
        torch.testing.assert_close(other.state[name], tensor, rtol=1e-9, atol=1e-10)
    assert one.metrics[-1]["test_loss"] == pytest.approx(other.metrics[-1]["test_loss"], rel=1e-9)


def test_padding_does_not_count() -> None:
    module = replace_layers(net(1, 3).double())
    norms = batchnorms_of(module)
    assert norms is not None
    initial_S = norms.initial(theta_of(module))
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    valid_B = torch.tensor([True, True, True, False, False])
    with norms.training(initial_S, valid_B) as masked:
        logits = module(images)
    with norms.training(initial_S, None) as cut:
        expected = module(images[:3])
    torch.testing.assert_close(logits[:3], expected)
    torch.testing.assert_close(norms.after(masked), norms.after(cut))


def test_a_batch_of_one_image_has_no_variance_in_a_layer_of_features() -> None:
    """Where torch raises an error."""
    layer = nn.BatchNorm1d(6).double()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer(torch.zeros(1, 6).double())
    module = replace_layers(nn.Sequential(layer))
    norms = batchnorms_of(module)
    assert norms is not None
    for valid_B, images in ((None, torch.ones(1, 6)), (torch.tensor([True, False]), torch.ones(2, 6))):
        with norms.training(norms.initial(torch.zeros(0).double()), valid_B) as done:
            assert torch.equal(module(images.double())[:1], torch.zeros(1, 6).double())
        assert norms.buffers(norms.after(done))["0.running_var"].tolist() == pytest.approx([0.9] * 6)


def test_the_server_takes_the_weighted_mean_and_counts_stay_whole() -> None:
    simulation = Simulation(described(cohort=7))
    order = simulation.order(simulation.clock(), 0.05)
    norms = simulation.context.batchnorms
    assert norms is not None
    expected = torch.zeros(norms.total).double()
    for row in range(7):
        (alone,) = simulation.trainer.train(simulation.theta_P, order.part([row]))
        expected += alone.uploads[NAME]  # each is p_k s_k
    simulation.advance()
    found, mean = norms.buffers(simulation.statistics.now_S), norms.buffers(expected)
    for name in found:
        torch.testing.assert_close(found[name], mean[name], rtol=1e-12, atol=1e-14)
    count = expected[8]  # after mean and variance of 4 channels
    assert not float(count).is_integer()
    assert found[COUNT] == round(float(count))
    assert simulation.statistics.now_S[8] == found[COUNT]
    size = 8 * (simulation.context.layout.total + norms.total)
    assert (simulation.bytes_up, simulation.bytes_down) == (7 * size, 7 * size)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_client_left_out_is_not_in_the_mean(engine: str) -> None:
    simulation = Simulation(described(engine, data=Broken(), cohort=7, **{"engine.on_client_error": "skip"}))
    order = simulation.order(simulation.clock(), 0.05)
    rows = [row for row, client in enumerate(order.ids) if client != 4]
    norms = simulation.context.batchnorms
    assert norms is not None
    alone = [next(iter(simulation.trainer.train(simulation.theta_P, order.part([row])))) for row in rows]
    expected = sum((block.uploads[NAME] for block in alone), torch.zeros(1).double()) / order.weight_K[rows].sum()
    simulation.advance()
    torch.testing.assert_close(simulation.statistics.now_S[:8], expected[:8], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("average", ["none", "swa"])
def test_the_saved_model_evaluates_in_torch_as_it_did_here(average: str, tmp_path: Path) -> None:
    """Loaded into the user's own module, with torch's own layers. For SWA its statistics are those of torch's
    `update_bn` on the public images."""
    out = tmp_path / "run"
    changes = {"average.name": "swa", "average.cycle": 1, "average.start": 0.4} if average == "swa" else {}
    run = described(out=str(out), **changes)
    result = simulate(run)
    module = net(1, 3).double()
    module.load_state_dict(safetensors.torch.load_file(out / "model.safetensors"), strict=True)
    data = run.data.load(run.seed)

    def inputs(images: Any) -> Tensor:
        return (torch.from_numpy(images).double().permute(0, 3, 1, 2) / 255 - 0.4) / 0.3

    module.eval()
    loss = F.cross_entropy(module(inputs(data.test.inputs)), torch.from_numpy(data.test.targets))
    assert float(loss.detach()) == pytest.approx(result.metrics[-1]["test_loss"], rel=1e-9)
    expected = copy.deepcopy(module)
    batches = torch.split(inputs(public_images(data, run.seed, 2048)), 256)
    update_bn(batches, expected)
    same = all(
        torch.allclose(tensor, dict(expected.named_buffers())[name].to(tensor), rtol=1e-9, atol=1e-12)
        for name, tensor in module.named_buffers()
    )
    assert same == (average == "swa")


def test_clients_that_keep_their_statistics_go_on_from_them() -> None:
    simulation = Simulation(described(cohort=7, **{"server.batchnorm": "local"}))
    norms = simulation.context.batchnorms
    assert norms is not None
    initial_S = norms.initial(simulation.theta_P)
    order = simulation.order(simulation.clock(), 0.05)
    averaging = Simulation(described(cohort=7))
    sent = {NAME: initial_S}
    averaged = averaging.trainer.train(averaging.theta_P, dataclasses.replace(order, sent=sent, client_state={}))
    expected_KS = torch.stack([block.uploads[NAME] / float(block.weight_K) for block in averaged])
    counts = []
    for round in range(2):
        simulation.advance()
        if round == 0:
            torch.testing.assert_close(simulation.client_state.rows(range(7))[NAME] + initial_S, expected_KS)
        kept_KS = simulation.client_state.rows(range(7))[NAME] + initial_S
        counts.append([int(norms.buffers(kept_S)[COUNT]) for kept_S in kept_KS])
    steps = [2 * -(-n // 4) for n in simulation.federation.sizes(range(7)).tolist()]
    assert counts == [steps, [2 * n for n in steps]]
    assert simulation.statistics.sent() == {}
    assert torch.equal(simulation.statistics.now_S, initial_S)
    theta_P = simulation.theta_P
    (served_S,) = simulation.statistics.of(theta_P, theta_P).statistics
    assert torch.equal(served_S, simulation.statistics.estimated(theta_P))


@pytest.mark.parametrize(("batchnorm", "average"), [("average", "none"), ("average", "ema"), ("local", "none")])
def test_a_resumed_run_ends_in_the_same_bytes(batchnorm: str, average: str, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    changes = {
        "server.batchnorm": batchnorm,
        "checkpoint_every": 1,
        "average.name": average,
        "engine.precision": "fp32",
    }
    simulate(described(out=str(whole), **changes))
    listener = StopAt(2)
    with pytest.raises(Interrupted):
        simulate(described(out=str(stopped), **changes), listener, listener.stop)
    resume(stopped)
    assert outcome(whole) == outcome(stopped)


def test_public_images_come_from_all_clients_alike() -> None:
    data = Ragged().load(0)
    few = public_images(data, 0, 14)  # two of each of the seven, but one client has a single image
    assert len(few) == 14
    assert len(public_images(data, 0, 1000)) == len(data.train)
    assert (public_images(data, 0, 14) == few).all()
    assert (public_images(data, 1, 14) != few).any()
    owner = {image.tobytes(): k for k in range(7) for image in data.train.inputs[data.examples([k])[1][0]]}
    assert sorted({owner[image.tobytes()] for image in few}) == list(range(7))


def test_a_model_without_batch_normalisation_is_estimated_by_nothing() -> None:
    simulation = Simulation(Run.from_keys({"rounds": 1}))
    assert simulation.context.batchnorms is None
    statistics = Statistics(simulation.context, simulation.federation, 10)
    assert (statistics.sent(), statistics.of(simulation.theta_P, simulation.theta_P).statistics) == ({}, ())


def test_layers_that_are_shared_stay_one() -> None:
    shared = nn.BatchNorm2d(2)
    module = replace_layers(nn.Sequential(shared, nn.ReLU(), shared))
    assert module[0] is module[2]
    assert list(module.state_dict()) == list(nn.Sequential(shared, nn.ReLU(), shared).state_dict())
    assert layout_of(module).total == 4


def test_a_layer_after_inner_ones_keeps_its_own_statistics() -> None:
    inner = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    theirs = nn.Sequential(inner, nn.BatchNorm2d(4)).double().train()
    ours = replace_layers(copy.deepcopy(theirs))
    norms = batchnorms_of(ours)
    assert norms is not None
    images = torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with norms.training(norms.initial(images), None) as done:
        ours(images)
    statistics_S = norms.after(done)
    theirs(images)
    for name, buffer in norms.buffers(statistics_S).items():
        torch.testing.assert_close(buffer, dict(theirs.named_buffers())[name])
    assert torch.equal(norms.vector(norms.buffers(statistics_S), images), statistics_S)
    evaluated = Network(ours, layout_of(ours)).evaluated(theta_of(ours), images, statistics_S)
    torch.testing.assert_close(evaluated, theirs.eval()(images))
