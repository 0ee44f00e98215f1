"""What an engine is: it answers "train these clients from these weights", and nothing else.

Shapes: K clients of a block, P parameters.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from fedsam.config import Component, key
from fedsam.data.base import Split
from fedsam.data.plan import ClientPlan
from fedsam.errors import InputError

if TYPE_CHECKING:
    from fedsam.engine.task import Task

Precision = Literal["fp32", "tf32", "bf16", "fp64"]


@dataclass(frozen=True)
class Trained:
    """A block of trained clients.

    Args:
        rows: the places of these clients in the list of plans.
        delta_KP: theta_client − theta_sent.
        loss_K: each client's mean training loss, over its samples, each at the weights before its step.
    """

    rows: list[int]
    delta_KP: Tensor
    loss_K: Tensor


class Trainer(Protocol):
    """An engine at work on one task."""

    def train(self, theta_P: Tensor, store: Split, plans: Sequence[ClientPlan], lr: float) -> Iterator[Trained]:
        """Train each planned client from `theta_P`, in blocks whose order and size depend on the plans alone."""


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
    )
    block: int = key(
        0, "clients trained at once by the cohort engine; 0 = by the number of parameters", "fedsam bench engines", ge=0
    )

    def torch_device(self) -> torch.device:
        """The device that `device` and `precision` name.

        Raises:
            InputError: there is no such device, or it lacks the precision.
        """
        cuda = torch.cuda.is_available()
        try:
            device = torch.device(("cuda" if cuda else "cpu") if self.device == "auto" else self.device)
        except RuntimeError:
            raise InputError("device", self.device, "must be auto, cpu, cuda or cuda:N") from None
        if device.type == "cuda" and not (cuda and (device.index or 0) < torch.cuda.device_count()):
            raise InputError("device", self.device, f"torch sees {torch.cuda.device_count()} GPUs; use cpu or auto")
        if self.precision == "tf32" and device.type != "cuda":
            raise InputError(
                "precision", self.precision, f"needs a CUDA device, this run is on {device.type}; use fp32 or bf16"
            )
        return device

    def thread_count(self, task: Task) -> int:
        """Processor threads for this task: the kernels of small models are too short to be shared out, and waiting
        for a second core costs most.
        """
        return self.threads or (1 if task.small else torch.get_num_threads())

    def choose(self, task: Task) -> tuple[Engine, str]:
        """The engine that does the work, and why."""
        return self, "as configured"

    @abstractmethod
    def start(self, task: Task) -> Trainer:
        """Make ready to train clients of this task."""
