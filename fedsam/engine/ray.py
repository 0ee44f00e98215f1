"""The Ray engine: workers in processes of their own, on this machine or on a cluster.

Every worker owns a device, or a share of the cores, and trains blocks of clients with an in-process engine. Which
clients form a block depends on the round alone, not on the workers, and blocks are added up in a fixed order; so the
number of workers, their deaths and who is faster change no bit.

Shapes: K clients of a round, P parameters.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedsam.border.budget import must_have_cores
from fedsam.cluster.join import LOOK, brief, join
from fedsam.cluster.kept import now
from fedsam.cluster.patience import LIMIT, Patience
from fedsam.config import key
from fedsam.data.base import Federation
from fedsam.data.plan import local_steps
from fedsam.engine.auto import Auto
from fedsam.engine.base import Engine, Trainer
from fedsam.engine.blocks import why_not
from fedsam.engine.cohort import Cohort, block_for, default_block, longest_first
from fedsam.engine.context import RunContext
from fedsam.engine.messages import Order, Trained
from fedsam.engine.support.shared_memory import Place, SharedBuffer, shared_buffer
from fedsam.engine.support.worker import Blueprint, Packed, Worker, on_host
from fedsam.errors import InputError, RunError

log = logging.getLogger("fedsam")

SHARES = 8  # of a round's clients, so that up to so many workers have something to do
GRAIN = 2**27  # parameters times examples; a core needs some tens of milliseconds for them, a message several
SMALLEST_ON_GPU = 8  # clients of a block, below which a GPU is badly used
DEATHS = 3  # of workers on the same block, after which the block is taken to be the cause
PAUSE = 0.2  # seconds between two calls of a worker that is down


class Ray(Engine):
    """Workers in processes of their own, each running the `cohort` or `loop` engine, as `auto` would choose."""

    workers: int = key(
        0, "worker processes; 0 = one for each GPU, without GPUs one for each core", "convention", ge=0, le=10**4
    )
    address: str | None = key(
        None, "of a Ray cluster to join (host:port, or auto); none = start one here and stop it again", "convention"
    )
    wait: float = key(LIMIT, "seconds to wait for Ray, or for another worker, to come up", "convention", ge=0.0)

    def torch_device(self) -> torch.device:
        """Where this process evaluates and takes the server's step: on its processor, for each GPU is a worker's; on a
        GPU only if that is named, as `cuda:0`.

        Raises:
            InputError: there is no such GPU.
        """
        # whether a GPU is there for what needs one is known when the cluster is
        plain = self.device in ("auto", "cuda", "cpu")
        return torch.device("cpu") if plain else super().torch_device()

    def check_threads(self) -> None:
        """It is the cluster's cores that count, when it has been joined."""

    def thread_count(self, context: RunContext) -> int:
        """Threads of a worker: one, unless asked for more, so that it does not depend on how many workers there are."""
        return self.threads or 1

    def start(self, context: RunContext, federation: Federation) -> RayTrainer:
        """Start or join a cluster, place the data there, and start the workers.

        Raises:
            InputError: the cluster cannot be joined, or lacks what is asked for.
            RunError: it does not start.
        """
        return RayTrainer(context, federation, self)


class _Actor:
    """A process with a worker, which it makes when it is first needed: also after a restart."""

    worker: Worker | None = None
    board_RP: np.ndarray | None = None

    def ready(self, made_of: list[Any]) -> Worker:
        """The worker."""
        if self.worker is None:
            import ray

            placed, *rest = made_of
            self.worker = Worker(*ray.get(placed), *rest)
        return self.worker

    def come_up(self, made_of: list[Any], place: Place | None) -> bool:
        """Make the worker anew; an answer says that it is there, and whether it reaches the board."""
        self.worker = self.board_RP = None
        self.ready(made_of)
        return self.reach(place)

    def reach(self, place: Place | None) -> bool:
        """Open the board, if this is the machine where it is."""
        if place is not None and self.board_RP is None:
            self.board_RP = place.open()
        return self.board_RP is not None

    def train(
        self, made_of: list[Any], place: Place, row: int, theta_P: np.ndarray | None, order: Order
    ) -> list[Packed]:
        """Have the worker train a block. Without weights, these are on the board, and what comes of them goes there."""
        worker = self.ready(made_of)
        if theta_P is not None:
            return worker.train(theta_P, order)
        self.reach(place)
        assert self.board_RP is not None
        blocks = worker.train(self.board_RP[0], order)
        one = len(blocks) == 1 and blocks[0].block.update_JP is not None and len(blocks[0].block.update_JP) == 1
        return [blocks[0].put_on(self.board_RP[row])] if one else blocks


class RayTrainer(Trainer):
    """The Ray engine at work."""

    reads = False

    def __init__(self, context: RunContext, federation: Federation, settings: Ray) -> None:
        super().__init__(context, federation)
        self.settings = settings
        self.cluster = join(settings.address, settings.wait, keep=True)
        try:
            self._place(context, federation)
        except BaseException:
            self.close()
            raise

    def _place(self, context: RunContext, federation: Federation) -> None:
        import ray

        settings, have = self.settings, ray.cluster_resources()
        gpus = int(have.get("GPU", 0)) if settings.device == "auto" or settings.device.startswith("cuda") else 0
        if settings.device.startswith("cuda") and not gpus:
            raise InputError("device", settings.device, "the cluster has no GPU; use cpu or auto")
        if settings.precision == "tf32" and not gpus:
            raise InputError("precision", "tf32", "needs a CUDA device, the cluster has none; use fp32 or bf16")
        if settings.graphs and not gpus:
            raise InputError("graphs", True, "needs a CUDA device, the cluster has none; leave it out")
        threads, cores = settings.thread_count(context), int(have.get("CPU", 1))
        if threads > cores:
            raise InputError("threads", threads, f"the cluster has {cores} cores")
        number = settings.workers or gpus or cores // threads
        must_have_cores("workers", settings.workers, cores)
        inner: dict[str, Any] = {field: getattr(settings, field) for field in Engine.model_fields}
        blocks = Cohort(**inner) if gpus and not why_not(context) else None
        self.engine = blocks or Auto(**inner).choose(context)[0]
        self.on_gpu = gpus > 0
        if self.on_gpu and context.device.type == "cpu":
            torch.set_num_threads(os.cpu_count() or 1)  # none of them is a worker's
        share = {"num_gpus": min(1.0, gpus / number)} if gpus else {"num_cpus": min(threads, cores / number)}
        placed = [ray.put(Blueprint.of(context)), ray.put(federation)]  # here; Ray copies it once to each other node
        self.made_of = [placed, self.engine, "cuda" if gpus else "cpu", threads]
        actor = ray.remote(_Actor).options(**share, max_restarts=-1, max_task_retries=0)
        self.running: dict[Any, tuple[int, int]] = {}
        kept, self.kind = now(), (gpus > 0, *share.items())
        self.workers = kept.workers(self.kind, number) if kept else []
        self.workers += [actor.remote() for _ in range(number - len(self.workers))]
        self.board: SharedBuffer | None = shared_buffer(
            number + 1, context.layout.total, str(context.dtype).removeprefix("torch.")
        )
        self.near: set[int] = set()  # workers that reach the board
        self.idle: list[int] = []
        self.coming: dict[Any, tuple[int, float]] = {}  # the worker, and since when it is called
        for worker in range(number):
            self._call(worker)
        self.about = f"{number} worker{'s' * (number > 1)} on {'GPUs' if gpus else f'{threads} thread each'}"
        self.about += f", running {self.engine.name}"
        self._next()

    def close(self) -> None:
        """Stop the workers, and the cluster if it was started here."""
        import ray

        kept, workers = now(), getattr(self, "workers", [])
        if kept and kept.holds and workers:
            at_work = {worker for worker, _ in self.running.values()}
            kept.keep(self.kind, [one for number, one in enumerate(workers) if number not in at_work])
            workers = [workers[number] for number in at_work]
        for worker in workers:
            ray.kill(worker)
        self.workers = []
        board: SharedBuffer | None = getattr(self, "board", None)
        if board:
            board.close()
            self.board = None
        self.cluster.leave()

    def train(self, theta_P: Tensor, order: Order) -> Iterator[Trained]:
        """Hand out the blocks, longest first; take the answers in the blocks' own order."""
        import ray

        self.cluster.check(going=True)
        self._forget()
        settings, sizes_K = self.settings, self.sizes(order.ids)
        steps = _steps(self.context, order, sizes_K)
        found = blocks(self.context, order, sizes_K, settings.block, self.engine.name == "loop", self.on_gpu)
        waiting = deque(longest_first([sum(steps[row] for row in block) for block in found]))
        theta, deaths, done = theta_P.detach().cpu().numpy(), [0] * len(found), {}
        order = on_host(order)
        if self.board:
            self.board.rows_RP[0] = theta
        sent = None  # for workers on other machines, once for all of them
        for wanted in range(len(found)):
            while wanted not in done:
                while waiting and self.idle:
                    worker, block = self.idle.pop(), waiting.popleft()
                    if worker not in self.near and sent is None:
                        sent = ray.put(theta)
                    self._hand(worker, block, None if worker in self.near else sent, order.part(found[block]))
                for ref in self._next():
                    worker, block = self.running.pop(ref)
                    try:
                        done[block] = [packed.take_from(self._row(worker)) for packed in ray.get(ref)]
                        self.idle.append(worker)
                    except ray.exceptions.RayTaskError as error:
                        raise RunError(f"a worker raised {error.cause!r} in round {order.round + 1}") from error
                    except ray.exceptions.RayError as error:
                        self.cluster.check(going=True)
                        deaths[block] += 1
                        self._lost(error, [order.ids[row] for row in found[block]], order.round, deaths[block])
                        waiting.appendleft(block)
                        self._call(worker)
            yield from self._unpacked(done.pop(wanted))

    def _hand(self, worker: int, block: int, sent: Any, order: Order) -> None:
        place = self.board.place if self.board else None
        ref = self.workers[worker].train.remote(self.made_of, place, worker + 1, sent, order)
        self.running[ref] = (worker, block)

    def _row(self, worker: int) -> np.ndarray:
        return self.board.rows_RP[worker + 1] if self.board else np.empty(0)

    def _call(self, worker: int, since: float | None = None) -> None:
        """Have a worker come up, for the first time or again."""
        place = self.board.place if self.board else None
        self.near.discard(worker)
        ref = self.workers[worker].come_up.remote(self.made_of, place)
        self.coming[ref] = (worker, time.monotonic() if since is None else since)

    def _unpacked(self, blocks: list[Packed]) -> Iterator[Trained]:
        for block in blocks:
            yield block.unpack(self.context.device)

    def _next(self) -> list[Any]:
        """Blocks that have come to an end; workers that have come up are made idle on the way.

        Raises:
            RunError: no worker comes up any more.
        """
        import ray

        patience: Patience | None = None
        while True:
            ready, _ = ray.wait([*self.running, *self.coming], num_returns=1, timeout=LOOK)
            for ref in ready:
                if ref in self.coming:
                    self._came(ref)
            ended = [ref for ref in ready if ref in self.running]
            if ended or (ready and self.idle):
                return ended
            going = bool(self.running or self.idle)
            self.cluster.check(going)
            if not going:
                patience = patience or Patience("a Ray worker to come up", self.settings.wait)
                if not self.coming or patience.over(_room):
                    raise RunError(
                        f"no Ray worker is left, and none came up within {self.settings.wait:.0f} s (engine.wait);"
                        f" {_room()}; see the cluster's logs, or use engine.name=auto"
                    )

    def _came(self, ref: Any) -> None:
        import ray

        worker, since = self.coming.pop(ref)
        try:
            if ray.get(ref):
                self.near.add(worker)
            self.idle.append(worker)
        except ray.exceptions.RayTaskError as error:
            raise RunError(f"a Ray worker could not be started: {error.cause!r}") from error
        except ray.exceptions.RayError as error:
            if time.monotonic() - since > self.settings.wait:
                log.warning("a Ray worker does not come up any more (%s); going on without it", brief(error))
                return
            time.sleep(PAUSE)  # an actor that restarts answers at once that it is unavailable
            self._call(worker, since)

    def _lost(self, error: Exception, ids: list[int], round: int, deaths: int) -> None:
        some = ", ".join(map(str, ids[:10])) + (f" and {len(ids) - 10} more" if len(ids) > 10 else "")
        if deaths >= DEATHS:
            raise RunError(
                f"round {round + 1}: {deaths} workers in turn died training clients {some}: {brief(error)};"
                " if memory is short, set a smaller engine.block or client.batch_size"
            )
        log.warning(
            "round %d: a worker was lost (%s); clients %s are trained again elsewhere", round + 1, brief(error), some
        )

    def _forget(self) -> None:
        """Wait for what an earlier round left running."""
        import ray

        while self.running:
            for ref in self._next():
                worker, _ = self.running.pop(ref)
                try:
                    ray.get(ref)
                    self.idle.append(worker)
                except ray.exceptions.RayError:
                    self._call(worker)


def blocks(
    context: RunContext, order: Order, sizes_K: np.ndarray, block: int, one_by_one: bool, on_gpu: bool
) -> list[list[int]]:
    """Which rows of an order form a block, in the order in which updates are added up: an eighth of the clients, or as
    many as are worth a message, by parameters and examples.

    Args:
        sizes_K: the clients' examples.
        block: clients of a block; 0 = as above.
        one_by_one: whether a worker trains them one after the other, in their order; else those with most steps first.
        on_gpu: whether on a GPU.
    """
    total, parameters = len(order.ids), context.layout.total
    line = list(range(total)) if one_by_one else longest_first(_steps(context, order, sizes_K))
    work = parameters * sizes_K.mean() * context.optimizer.base_optimizer.epochs
    size = max(-(-total // SHARES), math.ceil(GRAIN / work), SMALLEST_ON_GPU if on_gpu else 1)
    most = default_block(parameters) if one_by_one else block_for(parameters, "cuda" if on_gpu else "cpu")
    size = block or min(size, most)
    return [line[begin : begin + size] for begin in range(0, total, size)]


def _steps(context: RunContext, order: Order, sizes_K: np.ndarray) -> list[int]:
    if order.steps_K is not None:
        return [int(n) for n in order.steps_K]
    local = context.optimizer.base_optimizer
    return [int(n) for n in local_steps(sizes_K, local.batch_size, local.epochs)]


def _room() -> str:
    import ray

    have, free = ray.cluster_resources(), ray.available_resources()
    return f"{free.get('CPU', 0.0):g} of the cluster's {have.get('CPU', 0.0):g} cores are free"
