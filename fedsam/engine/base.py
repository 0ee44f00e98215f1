"""What an engine is: it answers "train these clients from these weights", and nothing else.

Shapes: K clients of a round or a block, P parameters.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from fedsam.config import Component, key
from fedsam.data.base import Federation
from fedsam.engine.context import RunContext
from fedsam.engine.messages import Failure, Order, Trained
from fedsam.engine.support.upload import numbers, uploaded
from fedsam.engine.train_client import TrainedClient
from fedsam.errors import InputError

DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,2})?")
CROWD = 64  # threads, at least, that every machine takes; torch ends the process where there can be no more of them
Precision = Literal["fp32", "tf32", "bf16", "fp64"]


class Trainer(ABC):
    """An engine at work on one task and one federation; `about` says what it has found to work with, if anything."""

    about = ""
    keeps_client_state = False
    """Whether clients keep their own vectors where they are trained, so that an order needs none."""

    reads = True
    """Whether it reads the clients' examples in this process."""

    def __init__(self, context: RunContext, federation: Federation) -> None:
        self.context, self.federation = context, federation

    def sizes(self, ids: Sequence[int]) -> np.ndarray:
        """Training examples of each of these clients, int64 [K]."""
        return self.federation.sizes(ids)

    @abstractmethod
    def train(self, theta_P: Tensor, order: Order) -> Iterator[Trained]:
        """Train each client from `theta_P`, in blocks whose order and size depend on the order and the data alone."""

    def close(self) -> None:  # noqa: B027
        """Stop what was started; the default has started nothing."""

    def trained(self, order: Order, done: TrainedClient, sent_P: Tensor) -> Trained:
        """The clients of `order`, trained from `sent_P`, after what is done to updates where they are made.

        Args:
            done: all of them, [K, ...].
        """
        delta_KP, transforms = done.update(sent_P), self.context.transforms if order.transformed else None
        check_K = done.loss + delta_KP.sum(dim=1)
        if transforms is None:
            return self.delivered(order, delta_KP, done, check_K)
        made = transforms.client(delta_KP, order.ids, order.round, order.sent, order.client_state)
        client_state, uploads = done.client_state | made.client_state, done.uploads | made.told
        done = replace(done, client_state=client_state, uploads=uploads)
        return self.delivered(order, made.delta_KP, done, check_K)

    def delivered(self, order: Order, delta_KP: Tensor, done: TrainedClient, check_K: Tensor) -> Trained:
        """The clients of `order`, whose updates came as `delta_KP`."""
        weight_K = done.weight
        if weight_K is None:
            weight_K = uploaded({"weight": numbers(order.weight_K, delta_KP.dtype)}, delta_KP.device)["weight"]
        sums = {name: each_KP.sum(dim=0) for name, each_KP in done.uploads.items()}
        return Trained(order.ids, delta_KP, weight_K, weight_K, done.loss, check_K, [], sums, done.client_state)

    def failed(self, failures: list[Failure]) -> Trained:
        """A block in which no client trained."""
        none_P = torch.zeros((0, self.context.layout.total), dtype=self.context.dtype, device=self.context.device)
        none = none_P[:, 0]
        return Trained([], none_P, none, none, none, none, failures)


class Engine(Component):
    """How clients are trained."""

    kind: ClassVar[str] = "engine"
    package: ClassVar[str] = "fedsam.engine"

    device: str = key("auto", "auto (a GPU where there is one), cpu, cuda, cuda:1, ...", "convention")
    precision: Precision = key("fp32", "arithmetic of training; tf32 needs a GPU, fp64 is for checks", "convention")
    threads: int = key(
        0,
        "processor threads; 0 = one for small models without convolutions, else torch's number",
        "fedsam bench engines",
        ge=0,
        le=1024,
    )
    block: int = key(
        0,
        "clients trained at once by the cohort engine; 0 = by the number of parameters, on a GPU by its memory",
        "fedsam bench engines",
        ge=0,
        le=10**6,
    )
    graphs: bool | None = key(
        None,
        "replay a local step as one CUDA graph, not kernel by kernel; none = in blocks on a GPU, not yet timed",
        "convention",
    )
    on_client_error: Literal["stop", "skip"] = key(
        "stop", "a client that raises an error stops the run, or is left out of its round", "convention"
    )

    def torch_device(self) -> torch.device:
        """The device that `device` and `precision` name.

        Raises:
            InputError: there is no such device, or it lacks the precision.
        """
        cuda = torch.cuda.is_available()
        if not DEVICE.fullmatch(self.device):
            raise InputError("device", self.device, "must be auto, cpu, cuda or cuda:N")
        device = torch.device(("cuda" if cuda else "cpu") if self.device == "auto" else self.device)
        if device.type == "cuda" and not (cuda and (device.index or 0) < torch.cuda.device_count()):
            raise InputError("device", self.device, f"torch sees {torch.cuda.device_count()} GPUs; use cpu or auto")
        if self.graphs and device.type != "cuda":
            raise InputError("graphs", True, f"needs a CUDA device, this run is on {device.type}; leave it out")
        if self.precision == "tf32" and device.type != "cuda":
            raise InputError(
                "precision", self.precision, f"needs a CUDA device, this run is on {device.type}; use fp32 or bf16"
            )
        return device

    def check_threads(self) -> None:
        """Refuse more threads than this machine's cores can have use of.

        Raises:
            InputError: so many are asked for.
        """
        most = max(CROWD, 4 * (os.cpu_count() or 1))
        if self.threads > most:
            raise InputError("threads", self.threads, f"must be at most {most} on this machine; use {os.cpu_count()}")

    def thread_count(self, context: RunContext) -> int:
        """Processor threads for this task: the kernels of small models are too short to be shared out, and waiting
        for a second core costs most.
        """
        return self.threads or (1 if context.small else torch.get_num_threads())

    def choose(self, context: RunContext) -> tuple[Engine, str]:
        """The engine that does the work, and why."""
        return self, "as configured"

    @abstractmethod
    def start(self, context: RunContext, federation: Federation) -> Trainer:
        """Make ready to train clients of this federation."""
