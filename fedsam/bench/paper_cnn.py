"""The paper's CNN on CIFAR-10 shapes: 5 of 100 clients, 8 steps of 64, crop and flip; against a hand-written PyTorch
loop.

The hand-written loop does the same work with nothing around it: modules, `torch.optim.SGD`, channels-last inputs, and
SAM and ASAM written out on the parameters in place. It is the limit that our round is held against, timed in
alternation with it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fedsam.bench import Row, alternate
from fedsam.data.augment.crop_flip import CropFlip
from fedsam.data.base import Dataset, Facts, Federation, Split
from fedsam.engine.auto import Auto
from fedsam.engine.base import Precision
from fedsam.engine.task import numerics
from fedsam.models.cnn import CNN
from fedsam.optim.asam import ASAM
from fedsam.optim.base import ClientOptimizer
from fedsam.optim.sam import SAM
from fedsam.optim.sgd import SGD
from fedsam.rng import stream
from fedsam.run import Run
from fedsam.simulation import Simulation

CLIENTS, SAMPLES, COHORT, BATCH = 100, 500, 5, 64
LR, DECAY = 0.01, 4e-4
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


class Noise(Dataset):
    """Random bytes in CIFAR-10's shape, 500 a client: the time of a round does not depend on what the images show."""

    def load(self, seed: int) -> Federation:
        """50,000 images."""
        rng = stream(seed, "bench")
        images = rng.integers(256, size=(CLIENTS * SAMPLES, 32, 32, 3), dtype=np.uint8)
        return _NoiseFederation(Split(images, rng.integers(10, size=len(images))))


class _NoiseFederation(Federation):
    def __init__(self, train: Split) -> None:
        self.facts = Facts(10, (32, 32, 3), MEAN, STD)
        self.clients = CLIENTS
        self.train = train
        self.test = Split(train.images[:BATCH], train.labels[:BATCH])

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        return np.full(len(ids), SAMPLES)

    def examples(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        return self.train, [np.arange(k * SAMPLES, (k + 1) * SAMPLES) for k in ids]

    def local_test(self, ids: Sequence[int]) -> tuple[Split, list[np.ndarray]]:
        return self.test, [np.empty(0, dtype=np.int64) for _ in ids]


def rows(rounds: int) -> Iterator[Row]:
    """Each optimiser in fp32 and bf16, ours and by hand in turn."""
    common: dict[str, Any] = {"lr": LR, "weight_decay": DECAY, "batch_size": BATCH, "epochs": 1}
    clients: dict[str, ClientOptimizer] = {
        "sgd": SGD(**common),
        "sam": SAM(rho=0.1, **common),
        "asam": ASAM(rho=0.7, eta=0.2, **common),
    }
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    for precision in precisions:
        with numerics(precision):
            ours: dict[str, Simulation] = {name: _simulation(client, precision) for name, client in clients.items()}
            hands = {name: HandWritten(ours[name], name, precision) for name in clients}
            parts: dict[str, Callable[[], object]] = {}
            for name in clients:
                parts |= {name: ours[name].advance, f"{name} by hand": hands[name].round}
            wait = torch.cuda.synchronize if ours["sgd"].task.device.type == "cuda" else lambda: None
            seconds = alternate(parts, rounds, wait)
        base = float(np.median(seconds["sgd"]))
        for name in clients:
            limit = float(np.median(seconds[f"{name} by hand"]))
            own = float(np.median(seconds[name]))
            yield Row(name, ours[name].engine.name, precision, seconds[name], own / limit, f"{own / base:.2f} x sgd")
            yield Row(f"{name} by hand", "none", precision, seconds[f"{name} by hand"], 1.0)


def _simulation(client: ClientOptimizer, precision: Precision) -> Simulation:
    data = Noise(clients=CLIENTS, augment=CropFlip())
    return Simulation(
        Run(data=data, model=CNN(), client=client, cohort=COHORT, rounds=10**6, engine=Auto(precision=precision))
    )


class HandWritten:
    """FedAvg as one would write it down in PyTorch for this one case."""

    def __init__(self, like: Simulation, algorithm: str, precision: str) -> None:
        self.device = like.task.device
        self.model = like.run.model.build((32, 32, 3), 10).to(self.device)
        self.client = copy.deepcopy(self.model)
        self.algorithm, self.bf16 = algorithm, precision == "bf16"
        store = like.task.store(like.federation.examples([])[0])
        self.images, self.labels = store.images, store.labels
        self.mean, self.std = torch.tensor(MEAN, device=self.device), torch.tensor(STD, device=self.device)
        self.rng = np.random.Generator(np.random.Philox(0))

    def round(self) -> None:
        """One round of 5 clients, their mean taken into the model."""
        total = [torch.zeros_like(p) for p in self.model.parameters()]
        for k in self.rng.choice(CLIENTS, COHORT, replace=False):
            self._train(int(k))
            with torch.no_grad():
                torch._foreach_add_(total, _tensors(self.client), alpha=1 / COHORT)
        with torch.no_grad():
            for parameter, mean in zip(self.model.parameters(), total, strict=True):
                parameter.copy_(mean)

    def _train(self, k: int) -> None:
        self.client.load_state_dict(self.model.state_dict())
        optimizer = torch.optim.SGD(self.client.parameters(), lr=LR, weight_decay=DECAY)
        order = torch.from_numpy(self.rng.permutation(SAMPLES) + k * SAMPLES).to(self.device)
        for index in torch.split(order, BATCH):
            inputs, labels = self._batch(index)
            optimizer.zero_grad()
            self._backward(inputs, labels)
            if self.algorithm != "sgd":
                moved = self._ascend()
                optimizer.zero_grad()
                self._backward(inputs, labels)
                with torch.no_grad():
                    torch._foreach_sub_(_tensors(self.client), moved)
            optimizer.step()

    def _backward(self, inputs: Tensor, labels: Tensor) -> None:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            logits = self.client(inputs)
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _ascend(self) -> list[Tensor]:
        parameters = _tensors(self.client)
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.algorithm == "sam":
            rho, moved = 0.1, gradients
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        else:
            rho = 0.7
            scales = [
                p.abs() + 0.2 if "weight" in name else torch.ones_like(p) for name, p in self.client.named_parameters()
            ]
            scaled = torch._foreach_mul(gradients, scales)
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(scaled)))
            moved = list(torch._foreach_mul(scaled, scales))
        steps = list(torch._foreach_mul(moved, rho / (norm + 1e-16)))
        torch._foreach_add_(parameters, steps)
        return steps

    def _batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        images = F.pad(self.images[index], (0, 0, 4, 4, 4, 4))
        top, left = self.rng.integers(9, size=(2, len(index), 1))
        flip = self.rng.random((len(index), 1)) < 0.5
        columns = np.where(flip, 31 - np.arange(32), np.arange(32)) + left
        rows = torch.from_numpy(np.arange(32) + top).to(self.device)
        picked = images[
            torch.arange(len(index))[:, None, None],
            rows[:, :, None],
            torch.from_numpy(columns).to(self.device)[:, None, :],
        ]
        return ((picked.float() / 255 - self.mean) / self.std).permute(0, 3, 1, 2), self.labels[index]


def _tensors(module: nn.Module) -> list[Tensor]:
    return list(module.parameters())
