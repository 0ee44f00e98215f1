"""Local steps captured once and replayed: on a GPU as one CUDA graph, in place of launching each kernel from Python.

Shapes: P parameters, S statistics of batch normalisation; of a block with a first dimension for its clients.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from fedsam.algorithm.client_hooks import ClientContext
from fedsam.engine.context import DeviceSplit, RunContext
from fedsam.engine.isolate import out_of_memory
from fedsam.engine.support.trees import leaves, outline, rebuilt
from fedsam.engine.train_client import LocalState, Step, TrainedClient, local_step, train_client
from fedsam.schedule.base import Clock

log = logging.getLogger("fedsam")

MOST = 16
"""Graphs at most, each of which holds its own memory."""
OFTENER = 2
"""How many times as often as the one that came least a form must have come, to have its graph in place of that one's:
forms that take turns do not drive each other out.
"""

Tree = Any
"""A record of tensors; see `fedsam.engine.support.trees`."""

Work = Callable[[], list[Tensor]]


class Replay(Protocol):
    """Work on fixed tensors that can be done again."""

    outputs: list[Tensor]
    """Where its results lie, each time."""

    def replay(self) -> None:
        """Do it."""


class CudaGraph:
    """Work as one CUDA graph, its memory its own (CUDA programming guide; `torch.cuda.CUDAGraph`).

    Args:
        work: on the current device; it must not wait for it.
    """

    def __init__(self, work: Work) -> None:
        aside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        current = torch.cuda.current_stream()
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            for _ in range(2):  # libraries choose their kernels and take their memory in the first calls
                work()
        current.wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self.outputs = work()

    def replay(self) -> None:
        """Launch it."""
        self._graph.replay()


class Captured:
    """A step of one kind and shape, with its own inputs.

    Args:
        step: takes a tree of inputs and gives one of outputs; pure.
        inputs: like those that it will be given.
        capture: makes the replay.
    """

    def __init__(self, step: Callable[[Tree], Tree], inputs: Tree, capture: Callable[[Work], Replay]) -> None:
        self._inputs = [leaf.clone() for leaf in leaves(inputs)]
        self._last: list[Any] = [None] * len(self._inputs)
        fixed = rebuilt(inputs, iter(self._inputs))
        self._tree: Tree = None

        def work() -> list[Tensor]:
            self._tree = step(fixed)
            return list(leaves(self._tree))

        self._replay = capture(work)
        places = {id(leaf): place for place, leaf in enumerate(self._inputs)}
        # an output that is an input as it came, such as what was sent, is handed through and not copied
        self._passed = [places.get(id(leaf)) for leaf in self._replay.outputs]

    def __call__(self, inputs: Tree, moving: set[int]) -> Tree:
        """The outputs for these inputs; those that are made lie where the next call will put its own.

        Args:
            moving: tensors, by their ids, that change without their version's being counted: outputs of replays.
        """
        given = list(leaves(inputs))
        for place, (mine, leaf) in enumerate(zip(self._inputs, given, strict=True)):
            last = self._last[place]
            # copied only where it is another tensor, or torch has counted a write since
            if last is None or last[0] is not leaf or last[1] != leaf._version:
                mine.copy_(leaf)
                self._last[place] = None if id(leaf) in moving else (leaf, leaf._version)
        passed = [None if at is None else given[at] for at in self._passed]
        # this replay may overwrite what an earlier one made
        passed = [one.clone() if one is not None and id(one) in moving else one for one in passed]
        self._replay.replay()
        found = [made if one is None else one for made, one in zip(self._replay.outputs, passed, strict=True)]
        return rebuilt(self._tree, iter(found))

    @property
    def made(self) -> list[Tensor]:
        """The outputs that it makes."""
        return [made for made, at in zip(self._replay.outputs, self._passed, strict=True) if at is None]


class Noting(Clock):
    """A clock that takes note of being looked at."""

    def __init__(self, clock: Clock) -> None:
        object.__setattr__(self, "clock", clock)
        object.__setattr__(self, "asked", False)

    def __getattribute__(self, name: str) -> Any:
        if name in ("round", "rounds"):
            object.__setattr__(self, "asked", True)
            return getattr(object.__getattribute__(self, "clock"), name)
        return object.__getattribute__(self, name)


class Graphs:
    """Local steps that are captured when a step of their form comes a second time, and replayed from then on.

    What a step computes may depend on the tensors it is given; on the number of the local step, if the optimiser or the
    strategy ask for it, in which case each has its own graph; and on the round, in which case it is not captured.

    Args:
        capture: makes a replay of work.
    """

    def __init__(self, capture: Callable[[Work], Replay] = CudaGraph) -> None:
        self._capture: Callable[[Work], Replay] | None = capture
        self._asked: dict[Hashable, set[str]] = {}
        self._came: Counter[Hashable] = Counter()
        self._captured: dict[Hashable, Captured] = {}
        self._made: set[int] = set()

    @property
    def count(self) -> int:
        """How many graphs there are."""
        return len(self._captured)

    def clear(self) -> None:
        """Free them."""
        self._captured.clear()
        self._asked.clear()
        self._came.clear()
        self._made.clear()

    def train(
        self,
        context: RunContext,
        store: DeviceSplit,
        steps: Iterable[Step],
        client: ClientContext,
        weight: Tensor | float,
    ) -> TrainedClient:
        """As `train_client`, whose results it copies where a later step would overwrite them."""
        steps_k, lr = (_tensor(number, client.sent_P) for number in (client.steps, client.lr))
        client = replace(client, steps=steps_k, lr=lr)
        with torch.cuda.device(client.sent_P.device) if client.sent_P.is_cuda else nullcontext():
            done = train_client(context, store, steps, client, weight, self.step)
        return rebuilt(done, (leaf.clone() if id(leaf) in self._made else leaf for leaf in leaves(done)))

    def step(self, context: RunContext, store: DeviceSplit, step: Step, t: int, local: LocalState) -> LocalState:
        """As `local_step`; later steps may overwrite the result."""
        count = _tensor(step.count, local.theta_P)  # as a number it would be rounded otherwise than as a graph's input
        step = replace(step, index_B=None, examples=step.of(store), count=count)
        inputs = step, local
        form = outline(inputs)
        asked = self._asked.get(form)
        key = self._key(form, t)
        self._came[key] += 1
        if asked is None or "clock" in asked or self._came[key] == 1:
            return self._launched(context, store, step, t, local, form)
        captured = self._captured.get(key) or self._new(key, context, store, step, t, local, inputs)
        if captured is None:
            return self._launched(context, store, step, t, local, form)
        after: LocalState = captured(inputs, self._made)
        return replace(after, client=replace(after.client, clock=local.client.clock))

    def _key(self, form: Hashable, t: int) -> Hashable:
        return (form, t) if "t" in self._asked.get(form, ()) else (form,)

    def _launched(
        self, context: RunContext, store: DeviceSplit, step: Step, t: int, local: LocalState, form: Hashable
    ) -> LocalState:
        clock = Noting(local.client.clock)
        after, asked_t = local_step(context, store, step, t, replace(local, client=replace(local.client, clock=clock)))
        asked = {name for name, yes in (("t", asked_t), ("clock", clock.asked)) if yes}
        self._asked[form] = self._asked.get(form, set()) | asked
        return replace(after, client=replace(after.client, clock=local.client.clock))

    def _room_for(self, key: Hashable) -> bool:
        """Whether there is room for one more graph, if need be in place of the one whose form came least."""
        if len(self._captured) < MOST:
            return True
        least = min(self._captured, key=self._came.__getitem__)
        if self._came[key] < OFTENER * self._came[least]:
            return False
        del self._captured[least]
        return True

    def _new(
        self,
        key: Hashable,
        context: RunContext,
        store: DeviceSplit,
        step: Step,
        t: int,
        local: LocalState,
        inputs: Tree,
    ) -> Captured | None:
        def one(fixed: Tree) -> Tree:
            return local_step(context, store, fixed[0], t, fixed[1])[0]

        if self._capture is None or not self._room_for(key):
            return None
        try:
            captured = Captured(one, inputs, self._capture)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            log.warning("local steps cannot be captured as CUDA graphs and are launched kernel by kernel: %s", error)
            self._capture = None
            return None
        self._captured[key] = captured
        self._made = {id(tensor) for each in self._captured.values() for tensor in each.made}
        return captured


def _tensor(number: Tensor | float, like: Tensor) -> Tensor:
    return number if isinstance(number, Tensor) else like.new_full((), number)
