"""The gradient of a block of convolutional networks by unfold and bmm against autograd, in float64."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fedsam.bench.common.pfl_cnn import PflCNN
from fedsam.engine.context import RunContext
from fedsam.engine.kernels.cnn_cpu import CPUConvolutions
from fedsam.engine.kernels.cnn_im2col import Im2ColConvolutions, folded, pooled, unpooled, windows
from fedsam.engine.kernels.match import Layer
from fedsam.engine.support.cuda_graph import Graphs
from fedsam.models.cnn import CNN
from fedsam.params import theta_of
from tests.support.convolutions import CLASSES, OTHERS, head
from tests.support.convolutions import NETWORKS as WRITTEN
from tests.support.kernels import by_autograd, in_block, matched, seed_weights
from tests.support.ragged import Ragged
from tests.support.rounds import Again, assert_same, assert_same_models, models, ragged_run, trained

K, B = 3, 5
Shape = tuple[int, int, int]

NETWORKS: dict[str, tuple[nn.Module, Shape]] = {
    **copy.deepcopy(WRITTEN),
    "the paper's, smallest": (CNN(channels=3).build((16, 16, 2), CLASSES), (2, 16, 16)),
    "pfl's": (PflCNN().build((9, 9, 3), CLASSES), (3, 9, 9)),
    "both paddings, not square, a row dropped": (
        nn.Sequential(
            nn.Conv2d(2, 3, (2, 3), padding=(0, 2)),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(3, 4, (3, 2), padding=(2, 0)),
            nn.ReLU(),
            nn.MaxPool2d(2),
            *head(16),
        ),
        (2, 6, 9),
    ),
    "neither pooling nor relu": (
        nn.Sequential(nn.Conv2d(2, 3, 2), nn.Conv2d(3, 2, 3, padding=1), *head(24)),
        (2, 4, 5),
    ),
    "a number a window": (nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1), *head(12)), (1, 2, 3)),
}
seed_weights(module for module, _ in NETWORKS.values())


def of(module: nn.Module, precision: str = "fp32") -> Im2ColConvolutions:
    found = matched(Im2ColConvolutions, module, device="cuda", precision=precision)
    assert found is not None
    return found


def block(module: nn.Module, shape: Shape, soft: bool = False, batch: int = B) -> tuple[Tensor, Tensor, Tensor]:
    """Weights [K, P], images as the engine gives them, channels last, and targets."""
    rng = torch.Generator().manual_seed(batch)
    theta_P = theta_of(module)
    theta_KP = theta_P * (1 + 0.5 * torch.randn(K, len(theta_P), generator=rng, dtype=theta_P.dtype))
    inputs = torch.randn(K, batch, *shape[1:], shape[0], generator=rng, dtype=theta_P.dtype).movedim(-1, -3)
    if soft:
        return theta_KP, inputs, torch.rand(K, batch, CLASSES, generator=rng, dtype=theta_P.dtype)  # whose sum is not 1
    return theta_KP, inputs, torch.randint(CLASSES, (K, batch), generator=rng)


def assert_autograds(
    module: nn.Module, given: tuple[Tensor, ...], found: tuple[Tensor, ...], counts: list[int]
) -> None:
    (theta_KP, inputs, targets), (gradient_KP, loss_K) = given, found
    for k, count in enumerate(counts):
        want_P, loss = by_autograd(module, theta_KP[k], inputs[k, :count], targets[k, :count])
        assert (gradient_KP[k] - want_P).norm() <= 1e-13 * want_P.norm()
        assert abs(loss_K[k] - loss) <= 1e-13 * abs(loss)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("soft", [False, True], ids=["classes", "probabilities"])
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_is_autograds(name: str, soft: bool, masked: bool) -> None:
    module, shape = NETWORKS[name]
    given = block(module.double(), shape, soft)
    counts = [5, 2, 1] if masked else [B] * K
    valid_KB = torch.arange(B) < torch.tensor(counts)[:, None] if masked else None
    count = torch.tensor(counts).double() if masked else float(B)
    before = [one.clone() for one in given]
    found = in_block(of(module), *given, count, valid_KB)
    assert all(torch.equal(one, other) for one, other in zip(given, before, strict=True))
    assert_autograds(module, given, found, counts)


@pytest.mark.parametrize("name", ["the paper's, smallest", "both paddings, not square, a row dropped"])
@pytest.mark.parametrize("apart", [False, True])
def test_one_image_and_one_model_for_all(name: str, apart: bool) -> None:
    """Images that need no copy to lie as they should, and clients that begin with one vector in memory, or with vectors
    whose numbers do not lie together.
    """
    module, shape = NETWORKS[name]
    theta_KP, inputs, targets = block(module.double(), shape, batch=1)
    theta_KP = theta_KP.T.contiguous().T if apart else theta_KP[:1].expand(K, -1)
    given = theta_KP, inputs.contiguous(), targets
    before = [one.clone() for one in given]
    found = in_block(of(module), *given, 1.0, None)
    assert all(torch.equal(one, other) for one, other in zip(given, before, strict=True))
    assert_autograds(module, given, found, [1] * K)


def test_what_is_masked_is_not_looked_at() -> None:
    module, shape = NETWORKS["the paper's, smallest"]
    theta_KP, inputs, targets = block(module.double(), shape)
    rest = torch.full((K,), 3.0).double(), (torch.arange(B) < 3).expand(K, -1)
    clean = in_block(of(module), theta_KP, inputs, targets, *rest)
    inputs[:, 3:] *= 1e3
    targets[:, 3:] = 0
    for one, other in zip(in_block(of(module), theta_KP, inputs, targets, *rest), clean, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("sides", [(6, 6), (7, 4), (3, 5)])
def test_images_are_pooled_as_in_torch(sides: tuple[int, int]) -> None:
    """Of few different numbers, so that many windows have equal ones, of which the first gets the derivative."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(-1, 2, (20, 6, *sides), generator=rng).double().requires_grad_()
    by_torch = F.max_pool2d(x, 2)
    d = torch.randn(by_torch.shape, generator=rng, dtype=torch.float64)
    with torch.no_grad():
        ours, kept = pooled(x[None].permute(0, 2, 3, 4, 1))
        assert torch.equal(ours[0].permute(3, 0, 1, 2), by_torch)
        back = unpooled(d[None].permute(0, 2, 3, 4, 1), *kept)[0].permute(3, 0, 1, 2)
    assert torch.equal(back, torch.autograd.grad(by_torch, x, d)[0])


@pytest.mark.parametrize("name", ["the paper's, smallest", "relu before pooling", "pfl's"])
def test_equal_numbers_in_a_network(name: str) -> None:
    """Of images that are constant every window has four equal numbers."""
    module, shape = NETWORKS[name]
    theta_KP, inputs, targets = block(module.double(), shape)
    given = theta_KP, torch.linspace(-1, 1, K * B).double().view(K, B, 1, 1, 1).expand_as(inputs), targets
    assert_autograds(module, given, in_block(of(module), *given, B, None), [B] * K)


def test_windows_and_what_is_added_up_from_them() -> None:
    """Folding is the transposed of unfolding; torch's own order of a window's numbers is that of a kernel's."""
    rng, stage = torch.Generator().manual_seed(0), Layer(False, (3, 2), (1, 2))
    x = torch.randn(2, 3, 6, 5, 4, generator=rng, dtype=torch.float64)
    cut, places = windows(x, stage)
    images = x.permute(0, 4, 1, 2, 3).flatten(0, 1)
    by_torch = F.unfold(images, (3, 2), padding=(1, 2)).view(2, 4, 18, -1)
    assert places == (6, 8, 4)
    assert torch.equal(cut.view(2, 18, -1, 4), by_torch.permute(0, 2, 3, 1))
    d = torch.randn(by_torch.shape, generator=rng, dtype=torch.float64)
    back = folded(d.permute(0, 2, 3, 1).flatten(2), stage, x.shape, torch.float64)
    wanted = F.fold(d.flatten(0, 1), (6, 5), (3, 2), padding=(1, 2)).view(2, 4, 3, 6, 5)
    torch.testing.assert_close(back, wanted.permute(0, 2, 3, 4, 1), rtol=0, atol=1e-14)


def test_sums_over_windows_are_rounded_once() -> None:
    rng, stage, shape = torch.Generator().manual_seed(0), Layer(False, (3, 2)), torch.Size((2, 3, 6, 5, 4))
    d_KNQ = torch.randn(2, 3 * 3 * 2, 4 * 4 * 4, generator=rng).bfloat16()
    found = folded(d_KNQ, stage, shape, torch.float32)
    assert torch.equal(found, folded(d_KNQ.float(), stage, shape, torch.float32).bfloat16())


@pytest.mark.parametrize("name", ["the paper's", "no pooling, padding", "pfl's"])
def test_bfloat16_errs_about_as_much_as_autocast(name: str) -> None:
    module, shape = copy.deepcopy(NETWORKS[name][0]).float(), NETWORKS[name][1]
    theta_KP, inputs, targets = block(module, shape, batch=32)
    theta_KP = theta_KP[:1].expand(K, -1)
    ours_KP, loss_K = in_block(of(module, "bf16"), theta_KP, inputs, targets, 32.0, None)
    assert ours_KP.dtype == loss_K.dtype == torch.float32
    nn.utils.vector_to_parameters(theta_KP[0], module.parameters())
    for k in range(K):
        exact, exact_loss = by_autograd(module, theta_of(module), inputs[k], targets[k])
        theirs, their_loss = by_autograd(module, theta_of(module), inputs[k], targets[k], narrow=True)
        error, usual = ((found - exact).norm() / exact.norm() for found in (ours_KP[k], theirs))
        assert 0.3 * usual < error < 2 * usual
        assert 0 < abs(loss_K[k] - exact_loss) < 0.01 * exact_loss
        assert abs(their_loss - exact_loss) < 0.01 * exact_loss


@pytest.mark.parametrize("name", NETWORKS)
def test_takes_what_is_written_out_for_one_client(name: str) -> None:
    module, _ = NETWORKS[name]
    written = matched(CPUConvolutions, module)
    assert written is not None
    assert [stage.parameters for stage in written.stages].count(2) == len(of(module).stages)


@pytest.mark.parametrize("name", OTHERS)
def test_leaves_other_networks_to_autograd(name: str) -> None:
    assert matched(Im2ColConvolutions, OTHERS[name], device="cuda") is None


@pytest.mark.parametrize(("pool", "side"), [(False, 3), (True, 9)])
def test_images_that_are_too_small_are_refused(pool: bool, side: int) -> None:
    module = nn.Sequential(nn.Conv2d(4, 4, 9), *([nn.MaxPool2d(2)] if pool else []), *head(4)).double()
    with pytest.raises(RuntimeError, match=r"maximum size|Expected size"):
        in_block(of(module), *block(module, (4, side, side)), B, None)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Tasks on a CPU have such a gradient, too; whether it was asked for bfloat16, each time it is asked."""
    made, found = RunContext.__post_init__, Im2ColConvolutions.gradient
    calls: list[bool] = []

    def make(self: RunContext) -> None:
        made(self)
        kernel = Im2ColConvolutions.match(self.network, torch.device("cuda"), self.precision)
        assert kernel is not None
        assert not any(isinstance(one, Im2ColConvolutions) for one in self.kernels)
        self.kernels = (kernel, *self.kernels)

    def gradient(self: Im2ColConvolutions, *given: Any) -> tuple[Tensor, ...]:
        calls.append(self.narrow)
        return found(self, *given)

    monkeypatch.setattr(RunContext, "__post_init__", make)
    monkeypatch.setattr(Im2ColConvolutions, "gradient", gradient)
    return calls


def changes(optimizer: str) -> dict[str, Any]:
    client = {"name": optimizer, "batch_size": 4, "epochs": 2, "momentum": 0.9}
    data = Ragged(size=16, channels=3, augment="mixup")
    return {"model": {"name": "cnn", "channels": 4}, "data": data, "client": client}


@pytest.mark.parametrize("optimizer", ["sgd", "sam"])
def test_cohort_agrees_with_loop(optimizer: str, calls: list[bool]) -> None:
    loop = trained(ragged_run("loop", **changes(optimizer)))
    assert not calls
    assert_same(loop, trained(ragged_run("cohort", block=3, **changes(optimizer))))
    assert calls
    assert not any(calls)


def test_cohort_in_bfloat16(calls: list[bool]) -> None:
    (exact, _), (rounded, _) = (
        trained(ragged_run("cohort", precision=precision, **changes("sam"))) for precision in ("fp32", "bf16")
    )
    assert not calls[0]
    assert calls[-1]
    for client, delta_P in exact.items():
        assert 0 < (rounded[client] - delta_P).norm() < 0.1 * delta_P.norm()


@pytest.mark.parametrize("optimizer", ["sgd", "sam"])
def test_steps_that_are_done_again_come_to_the_same(optimizer: str, calls: list[bool]) -> None:
    run, before = ragged_run("cohort", block=3, **changes(optimizer)), Again.replays
    launched = models(run)
    assert_same_models(models(run, Graphs(Again)), launched)
    assert Again.replays > before
    assert calls


class Seen(TorchDispatchMode):
    """What torch is asked for, where, and the most memory that its results held at once."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.devices: set[str] = set()
        self.held: dict[int, int] = {}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.names.append(func.overloadpacket.__name__)
        for one in tree_leaves((args, kwargs, found)):
            if isinstance(one, Tensor):
                self.devices.add(one.device.type)
        for one in tree_leaves(found):
            storage = one.untyped_storage()
            if storage._cdata not in self.held:
                self.held[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, self.held.pop, storage._cdata, None)
        self.most = max(self.most, sum(self.held.values()))
        return found


def test_asks_for_nothing_that_waits_for_numbers() -> None:
    """Of tensors that have none every question about one is an error; three products a layer, but for the first."""
    module, shape = NETWORKS["the paper's, smallest"]
    given = [one.to("meta") for one in block(module.double(), shape)]
    count, valid_KB = torch.empty(K, device="meta").double(), torch.empty(K, B, device="meta", dtype=torch.bool)
    with Seen() as seen:
        gradient_KP, loss_K = in_block(of(module), *given, count, valid_KB)
    assert gradient_KP.shape == given[0].shape
    assert loss_K.shape == (K,)
    assert seen.devices == {"meta"}
    assert seen.names.count("bmm") == 3 * 5 - 1
    assert seen.names.count("clone") == 1 + 2  # the images, and the windows of two convolutions
    assert not {"copy_", "_to_copy"} & set(seen.names)


def test_bytes_of_windows() -> None:
    """As counted by hand: Σ C·I·J·H'·W'·B."""
    module, _ = NETWORKS["the paper's"]
    numbers = (3 * 25 * 28 * 28 + 64 * 25 * 10 * 10) * 64
    assert of(module).bytes_per_client(64, (32, 32, 3)) == 4 * numbers
    assert of(module).bytes_per_client(64, (32, 32, 3), 2) == 2 * numbers
    module, _ = NETWORKS["both paddings, not square, a row dropped"]
    numbers = (2 * 2 * 3) * 5 * 11 + (3 * 3 * 2) * 4 * 4
    assert of(module).bytes_per_client(1, (6, 9, 2)) == 4 * numbers


def test_memory_is_that_of_windows_and_not_much_more() -> None:
    """Derivatives by windows come in their places: were both held at once, it would be 1.7 times as much and more."""
    module = nn.Sequential(nn.Conv2d(1, 2, 5), nn.Conv2d(2, 2, 7), nn.Conv2d(2, 2, 9), *head(2 * 14 * 14)).double()
    given = block(module, (1, 32, 32))
    bytes_ = K * of(module).bytes_per_client(B, (32, 32, 1), 8)
    with Seen() as seen:
        in_block(of(module), *given, B, None)
    assert bytes_ < seen.most < 1.25 * bytes_
