"""What a client optimiser is: pure functions of a flat parameter vector and the gradient oracle of one mini-batch.

Shapes: P parameters, K clients of a block.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from fedsam.config import LARGE, Component, key
from fedsam.errors import InputError
from fedsam.schedule.base import Clock, Schedule
from fedsam.schedule.local.base import LocalSchedule

if TYPE_CHECKING:
    from fedsam.attack.base import Attack
    from fedsam.optim.keys import BaseKeys, WrapperKeys
    from fedsam.params import Layout
    from fedsam.schedule.keys import ScheduleKeys
else:
    BaseKeys = WrapperKeys = ScheduleKeys = object

State = dict[str, Tensor]


class Oracle(Protocol):
    """The gradient of one mini-batch's mean loss: the same batch and the same draws at every point it is asked for."""

    layout: Layout
    clock: Clock
    """The round."""

    @property
    def t(self) -> int:
        """Number of the local step in the client's round, from 0."""

    def __call__(self, theta_P: Tensor) -> Tensor:
        """∇L_B(theta), [P]."""

    def point(self, theta_P: Tensor) -> Tensor:
        """Where an optimiser that does not perturb is to take the gradient for a step from theta; from the strategy."""
        return theta_P

    def ascent(self, gradient_P: Tensor, theta_P: Tensor) -> Tensor:
        """What a perturbation at theta is to be made of, given the gradient there; from the strategy."""
        return gradient_P

    def perturbed(self, epsilon_P: Tensor, theta_P: Tensor) -> Tensor:
        """Which perturbation is taken at theta, given the optimiser's; from the strategy."""
        return epsilon_P

    def ascended(self, epsilon_P: Tensor) -> None:
        """Tell the strategy of a perturbation."""
        return

    def descent(self, gradient_P: Tensor, theta_P: Tensor) -> Tensor:
        """What is to be descended along from theta, given a gradient; from the strategy."""
        return gradient_P

    def change(self, theta_P: Tensor, attack: Attack) -> None:
        """Replace the batch's images by those that an attack makes of them at theta."""

    def drawn(self, name: str, share: float) -> Tensor:
        """Where parameters lie whose tensor is drawn, each tensor with probability `share`, bool [P]; by the keys that
        the optimiser's `draw` made under this name. Without keys all are.
        """
        return torch.ones(self.layout.total, dtype=torch.bool)

    def select(self, before_P: Tensor, after_P: Tensor, share: float) -> None:
        """Go on with this share of the batch's examples: those whose loss rises most from one point to another. An
        oracle without examples goes on as it is.
        """
        return


class ClientOptimizer(Component):
    """How a client trains: a step from the gradient oracle of each mini-batch.

    Everything is written for one client's vectors [P] and for a block's [K, P] alike, a row for each client: sums over
    parameters go over the last dimension and keep it (`norm`, `dot`), numbers of a client are [K, 1] then, nothing is
    decided by the data, and nothing writes to an argument. What one's own code makes of a block is tried before the
    first round; where it is not what it makes of each row, clients are trained one at a time.
    """

    kind: ClassVar[str] = "client optimiser"
    package: ClassVar[str] = "fedsam.optim"

    rowwise: ClassVar[bool] = True
    """Has no meaning any more: all code is tried with rows, whatever it says."""

    @property
    @abstractmethod
    def base_optimizer(self) -> BaseOptimizer:
        """The base optimiser that takes the steps in the end; it holds learning rate, batch size and epochs."""

    @property
    def kept(self) -> tuple[str, ...]:
        """Which vectors of the state a client keeps from round to round."""
        return self.base_optimizer.kept

    @property
    def perturbs(self) -> bool:
        """Whether it takes gradients at perturbed weights."""
        return True

    def draw(
        self, rng: np.random.Generator, count_T: np.ndarray, batch: int, shape: tuple[int, ...]
    ) -> dict[str, np.ndarray]:
        """Random numbers for one client's round, made in advance; as `Augment.draw`.

        Args:
            rng: the client's stream for this purpose and round.
            count_T, batch: valid samples of each step's batch, and B, the most that these can be.
            shape: of one stored input; of an image H, W, C.
        """
        return {}

    def init(self, theta_P: Tensor) -> State:
        """The state at the beginning of a client's round, or of its first where it keeps some of it."""
        return self.base_optimizer.init(theta_P)

    def check_model(self, layout: Layout) -> None:
        """Refuse a model that it, or an optimiser that it holds, has no meaning for, by an InputError."""
        for field in type(self).model_fields:
            if isinstance(held := getattr(self, field), ClientOptimizer):
                held.check_model(layout)

    @abstractmethod
    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        """One local step on one mini-batch: the new parameters [P] and the new state."""


class BaseOptimizer(ClientOptimizer, ScheduleKeys):
    """An optimiser that turns a gradient into a step, and the settings of local training that every optimiser has."""

    lr: float = key(
        0.1,
        "client learning rate",
        "the digits demonstration; 0.01 for CIFAR in Caldarola et al. 2022",
        gt=0.0,
        le=LARGE,
    )
    batch_size: int = key(
        8, "examples per local step", "the digits demonstration; 64 in Caldarola et al. 2022", ge=1, le=10**9
    )
    epochs: int = key(
        2,
        "passes over the client's data per round",
        "the digits demonstration; 1 in Caldarola et al. 2022",
        ge=1,
        le=10**6,
    )
    weight_decay: float = key(
        0.0,
        "λ of the weight decay, taken at the un-perturbed weights",
        "off; 4e-4 in Caldarola et al. 2022",
        ge=0.0,
        le=LARGE,
    )
    clip_norm: float | None = key(
        None,
        "largest global L2 norm of a gradient with the strategy's correction, without weight decay; none = no limit",
        "off; 10 in FL-Simulator, without the decay too",
        gt=0.0,
        le=LARGE,
    )
    schedule: Schedule = key("constant", "client learning rate over the rounds", "Caldarola et al. 2022")
    local_schedule: LocalSchedule = key(
        "constant", "learning rate over the local steps of a round", "McMahan et al. 2017"
    )

    @property
    def base_optimizer(self) -> BaseOptimizer:
        """This optimiser itself."""
        return self

    @property
    def kept(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    @property
    def perturbs(self) -> bool:
        """It does not."""
        return False

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        """A step along the gradient at theta."""
        gradient_P = oracle(oracle.point(theta_P))
        return self.follow(theta_P, state, gradient_P, oracle, lr)

    def follow(
        self, theta_P: Tensor, state: State, direction_P: Tensor, oracle: Oracle, lr: float | Tensor
    ) -> tuple[Tensor, State]:
        """A step from theta along a direction, with what the strategy makes of it: what an optimiser around this one
        calls. One that treats tensors differently overrides it and asks the oracle's layout.
        """
        return self.descend(theta_P, state, oracle.descent(direction_P, theta_P), lr)

    @abstractmethod
    def descend(self, theta_P: Tensor, state: State, gradient_P: Tensor, lr: float | Tensor) -> tuple[Tensor, State]:
        """A step from theta along a gradient that may have been taken elsewhere."""

    def clipped(self, gradient_P: Tensor) -> Tensor:
        """g · min(1, clip_norm / ‖g‖₂), with one norm over all parameters (Pascanu et al., ICML 2013, algorithm 1)."""
        if self.clip_norm is None:
            return gradient_P
        return gradient_P * (self.clip_norm / torch.clamp(norm(gradient_P), min=self.clip_norm))


def norm(vector_P: Tensor) -> Tensor:
    """‖v‖₂ over all parameters, [1]; of a block's vectors [K, 1]."""
    length: Tensor = torch.linalg.vector_norm(vector_P, dim=-1, keepdim=True)
    return length


def dot(a_P: Tensor, b_P: Tensor) -> Tensor:
    """a · b over all parameters, [1]; of a block's vectors [K, 1]."""
    return (a_P * b_P).sum(dim=-1, keepdim=True)


def is_on(number: float | Tensor) -> bool:
    """Whether a number is anything but zero; a tensor, one value for each of several runs trained as one, always is."""
    return isinstance(number, Tensor) or number != 0


class Wrapper(ClientOptimizer, BaseKeys):
    """An optimiser that has a base optimiser take its steps."""

    base: BaseOptimizer = key("sgd", "the optimiser that takes the steps", "Caldarola et al. 2022")

    @property
    def base_optimizer(self) -> BaseOptimizer:
        """The base optimiser."""
        return self.base


class Around(ClientOptimizer, WrapperKeys):
    """An optimiser around one that has a base, `ascent`."""


class Perturbed(Wrapper):
    """An optimiser that takes the base's step from theta with the gradient at a perturbed point, theta + epsilon.

    w ← base(w, ∇L_B(w + ε)), ε = perturbation(w, ∇L_B(w)), both gradients on the same mini-batch
    (Foret et al., ICLR 2021, algorithm 1; in federated form Caldarola et al., ECCV 2022). The perturbed point is a new
    vector, so nothing has to be restored, and weight decay and momentum act at w. Two gradient evaluations a step.
    """

    @abstractmethod
    def perturbation(self, theta_P: Tensor, gradient_P: Tensor, layout: Layout) -> Tensor:
        """ε, [P]."""

    def step(self, theta_P: Tensor, state: State, oracle: Oracle, lr: float | Tensor) -> tuple[Tensor, State]:
        """The base's step with the gradient at theta + ε."""
        gradient_P = oracle(theta_P + self.ascend(theta_P, oracle(theta_P), oracle))
        return self.base.follow(theta_P, state, gradient_P, oracle, lr)

    def ascend(self, theta_P: Tensor, gradient_P: Tensor, oracle: Oracle) -> Tensor:
        """ε at theta, of the gradient there, with what the strategy makes of both; [P]."""
        epsilon_P = self.perturbation(theta_P, oracle.ascent(gradient_P, theta_P), oracle.layout)
        epsilon_P = oracle.perturbed(epsilon_P, theta_P)
        oracle.ascended(epsilon_P)
        return epsilon_P


def must_perturb(client: ClientOptimizer, server: str) -> None:
    """Refuse a client optimiser that takes its gradient at w itself.

    Raises:
        InputError: it does; the key is of the group `client.`.
    """
    if not client.perturbs:
        allowed = f"server.name={server} needs a client that perturbs: sam, asam or one made of them"
        raise InputError("name", client.name, allowed)


def must_not_perturb(client: ClientOptimizer, server: str) -> None:
    """Refuse a client optimiser that perturbs by itself.

    Raises:
        InputError: it does; the key is of the group `client.`.
    """
    if client.perturbs:
        allowed = f"server.name={server} perturbs by itself (server.rho), and this would be ignored; use sgd"
        raise InputError("name", client.name, allowed)


def must_step_with_sgd(client: ClientOptimizer, server: str) -> None:
    """Refuse a base other than SGD.

    Raises:
        InputError: it is another; the key is of the group `client.`.
    """
    if client.base_optimizer.name != "sgd":
        key = "name" if client.base_optimizer is client else "base"
        allowed = f"server.name={server} takes the clients' way for a sum of gradients; use sgd"
        raise InputError(key, client.base_optimizer.name, allowed)
    if client.base_optimizer.local_schedule.counts_steps:
        allowed = (
            f"server.name={server} takes the clients' way for a sum of gradients at one learning rate; use constant"
        )
        raise InputError("local_schedule", client.base_optimizer.local_schedule.name, allowed)
