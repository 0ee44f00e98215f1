"""A client optimiser, as fedsam's clients use it, around any torch optimiser.

Shapes: P parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from pydantic import PrivateAttr
from torch import Tensor, nn
from torch.optim import Optimizer

from fedsam.attack.base import Attack
from fedsam.errors import InputError
from fedsam.optim.base import BaseOptimizer, ClientOptimizer, Oracle, State, Wrapper
from fedsam.params import Layout, layout_of
from fedsam.schedule.base import Clock

Params = nn.Module | Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]
Base = Callable[..., Optimizer]
Closure = Callable[[], Any]
OURS = "fedsam"
"""The entry of a state dictionary that holds what is not the base's."""


class Wrapped(Optimizer):
    """A step of `client` whose descents are steps of the torch optimiser `base`.

    All parameters of all groups are one vector, so a norm is one over all of them, as in fedsam's clients. Groups have
    settings of the base alone (`lr`, `momentum`, `weight_decay`, ...), which schedulers may change.

    `step` calls the closure at each point of which the method needs the gradient, more than once therefore: it has to
    clear the gradients, compute the loss of one and the same mini-batch, call `backward()` and return the loss. Every
    call but the first finds torch's generators as the first one did, so that dropout leaves out the same units. Given
    a module instead of its parameters, running statistics are those of the first call as well.

    Steps count from the first one of the object, and methods that keep something keep it as long as the object lives:
    what fedsam's clients do in a round begins anew, with a new object.

    Args:
        params: a module, `parameters()` or `named_parameters()` of one, or groups as torch takes them.
        base: a class of torch optimisers, or anything called as one.
        client: a client optimiser of `fedsam.optim`, whose own base is left aside.
        settings: of the base.

    Raises:
        InputError: parameters on several devices; a method that needs names, without them.
    """

    def __init__(self, params: Params, base: Base, client: ClientOptimizer, settings: dict[str, Any]) -> None:
        self.module = params if isinstance(params, nn.Module) else None
        super().__init__(params.named_parameters() if isinstance(params, nn.Module) else params, {})
        self.base = base(self.param_groups, **settings)
        self.client = with_base(client, TorchBase.of(self))
        self._kept: State = {}
        self.steps = 0
        """How many were taken."""
        self._share()

    def _share(self) -> None:
        """Have the groups and the state of the base, and know where each tensor lies."""
        self.defaults, self.param_groups, self.state = self.base.defaults, self.base.param_groups, self.base.state
        tensors: list[Tensor] = [tensor for group in self.param_groups for tensor in group["params"]]
        if len({tensor.device for tensor in tensors}) > 1:
            raise InputError("params", InputError.ABSENT, "must lie on one device")
        named = [name for group in self.param_groups for name in group.get("param_names", ())]
        names = named or [str(number) for number in range(len(tensors))]
        self.tensors, shapes = tensors, tuple(tuple(tensor.shape) for tensor in tensors)
        norms = layout_of(self.module).norms if self.module else ()
        self.layout = Layout(tuple(names), shapes, norms) if named else Nameless(tuple(names), shapes)
        self.client.check_model(self.layout)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's; before the first step of a method that keeps vectors from step to step.

        Raises:
            InputError: after it.
        """
        base = self.__dict__.get("base")
        if base is None:  # torch's constructor, which adds them all
            super().add_param_group(param_group)
            return
        if self._kept:
            raise InputError(
                "params", InputError.ABSENT, "can be added before the first step, then make a new optimiser"
            )
        base.add_param_group(param_group)
        self._share()

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """One step; what the closure returned at the weights before it.

        Raises:
            InputError: there is no closure.
        """
        if closure is None:
            told = "must be given: a function that clears the gradients, computes the loss, calls backward, returns it"
            raise InputError("closure", InputError.ABSENT, told)
        before_P = self.theta()
        oracle = _AtPoints(self, closure)
        if not self._kept:
            self._kept = self.client.init(before_P)
        try:
            after_P, self._kept = self.client.step(before_P, self._kept, oracle, self.param_groups[0]["lr"])
        except BaseException:
            self.put(before_P)
            raise
        oracle.end()
        self.put(after_P)
        self.steps += 1
        return oracle.loss

    def theta(self) -> Tensor:
        """A copy of all parameters, [P]."""
        return torch.cat([tensor.detach().reshape(-1) for tensor in self.tensors])

    def put(self, theta_P: Tensor) -> None:
        """Write all parameters."""
        for tensor, view in zip(self.tensors, self._views(theta_P), strict=True):
            tensor.copy_(view)

    def gradient(self) -> Tensor:
        """All gradients, [P]; zero where there is none."""
        found = [torch.zeros_like(t) if t.grad is None else t.grad for t in self.tensors]
        return torch.cat([gradient.detach().reshape(-1) for gradient in found])

    def put_gradient(self, gradient_P: Tensor) -> None:
        """Write the gradients of tensors that have one; the base leaves the others alone."""
        for tensor, view in zip(self.tensors, self._views(gradient_P), strict=True):
            if tensor.grad is not None:
                tensor.grad.copy_(view)

    def _views(self, vector_P: Tensor) -> list[Tensor]:
        pieces = torch.split(vector_P, self.layout.sizes)
        return [piece.view(shape) for piece, shape in zip(pieces, self.layout.shapes, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """The base's, with what is ours beside it."""
        return {**self.base.state_dict(), OURS: {"steps": self.steps, "kept": dict(self._kept)}}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`; from one of the base alone, as at the first step."""
        rest = dict(state_dict)
        ours = rest.pop(OURS, {"steps": 0, "kept": {}})
        self.base.load_state_dict(rest)
        device = self.tensors[0].device
        self.steps = int(ours["steps"])
        self._kept = {name: vector.to(device, copy=True) for name, vector in ours["kept"].items()}
        self._share()


class TorchBase(BaseOptimizer):
    """The torch optimiser as a base: w ← what its step makes of w and a gradient. Its state is in the object."""

    _owner: Wrapped = PrivateAttr()

    @classmethod
    def of(cls, owner: Wrapped) -> TorchBase:
        """That of this object."""
        made = cls()
        made._owner = owner
        return made

    def init(self, theta_P: Tensor) -> State:
        """Nothing."""
        return {}

    def descend(self, theta_P: Tensor, state: State, gradient_P: Tensor, lr: float | Tensor) -> tuple[Tensor, State]:
        """One step, with the learning rates of the groups."""
        self._owner.put(theta_P)
        self._owner.put_gradient(gradient_P)
        self._owner.base.step()
        return self._owner.theta(), state


class Nameless(Layout):
    """The layout of tensors of which nobody said the names."""

    def weights(self, device: torch.device | str = "cpu") -> Tensor:
        """Unknown.

        Raises:
            InputError: in any case.
        """
        told = 'needs names to tell weights from the rest: give the module or its named_parameters(), or scaling="all"'
        raise InputError("params", InputError.ABSENT, told)


class _AtPoints(Oracle):
    """The gradients that the closure leaves at the points that are asked for."""

    def __init__(self, owner: Wrapped, closure: Closure) -> None:
        self.owner, self.closure, self.layout = owner, closure, owner.layout
        self.loss: Any = None
        self.device = owner.tensors[0].device
        self.draws: list[Tensor] = []
        self.buffers: list[tuple[Tensor, Tensor]] = []

    @property
    def clock(self) -> Clock:  # type: ignore[override]
        """There is none.

        Raises:
            InputError: in any case.
        """
        told = "goes by the rounds of a run, which a loop of one's own does not have; change optimisers there"
        raise InputError("client", self.owner.client.name, told)

    @property
    def t(self) -> int:
        """Steps taken before this one."""
        return self.owner.steps

    def __call__(self, theta_P: Tensor) -> Tensor:
        """Have the closure called at theta."""
        self.owner.put(theta_P)
        first = not self.draws
        if first:
            self.draws = self._generators()
        else:
            torch.set_rng_state(self.draws[0])
            if len(self.draws) > 1:
                torch.cuda.set_rng_state(self.draws[1], self.device)
        with torch.enable_grad():
            loss = self.closure()
        if first:
            self.loss = loss
            self.buffers = [(b, b.clone()) for b in self.owner.module.buffers()] if self.owner.module else []
        return self.owner.gradient()

    def end(self) -> None:
        """Leave the module's buffers as the first call did."""
        for buffer, kept in self.buffers:
            buffer.copy_(kept)

    def change(self, theta_P: Tensor, attack: Attack) -> None:
        """The batch is the closure's.

        Raises:
            InputError: in any case.
        """
        raise InputError(
            "client", self.owner.client.name, "changes the batch, which is in the closure; change it there"
        )

    def drawn(self, name: str, share: float) -> Tensor:
        """Draws are keyed by rounds and clients.

        Raises:
            InputError: in any case.
        """
        raise InputError("client", self.owner.client.name, "draws by the rounds of a run; a loop of one's own has none")

    def select(self, before_P: Tensor, after_P: Tensor, share: float) -> None:
        """The batch is the closure's.

        Raises:
            InputError: in any case.
        """
        raise InputError("client", self.owner.client.name, "leaves out examples, which are in the closure")

    def _generators(self) -> list[Tensor]:
        on_gpu = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        return [torch.get_rng_state(), *on_gpu]


def with_base(client: Any, base: BaseOptimizer) -> Any:
    """The same client optimiser with another base."""
    if isinstance(client, BaseOptimizer):
        return base
    field = "base" if isinstance(client, Wrapper) else "ascent"
    return client.replace(**{field: with_base(getattr(client, field), base)})
