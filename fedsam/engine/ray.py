"""The Ray engine: workers in processes of their own, on this machine or on a cluster.

Every worker owns a device, or a share of the cores, and trains blocks of clients with an in-process engine. Which
clients form a block depends on the round alone, not on the workers, and blocks are added up in a fixed order; so the
number of workers, their deaths and who is faster change no bit.

Shapes: K clients of a round, P parameters.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from fedsam.config import key
from fedsam.data.base import Federation
from fedsam.data.plan import local_steps
from fedsam.engine.auto import Auto
from fedsam.engine.base import Engine, Order, Trained, Trainer
from fedsam.engine.cohort import Cohort, default_block, longest_first
from fedsam.engine.task import Task
from fedsam.engine.worker import Blueprint, Packed, Worker
from fedsam.errors import InputError, RunError

log = logging.getLogger("fedsam")

SHARES = 8  # of a round's clients, so that up to so many workers have something to do
SMALLEST_ON_GPU = 8  # clients of a block, below which a GPU is badly used
DEATHS = 3  # of workers on the same block, after which the block is taken to be the cause
PATIENCE = 120.0  # seconds without any worker


class Ray(Engine):
    """Workers in processes of their own, each running the `cohort` or `loop` engine, as `auto` would choose."""

    workers: int = key(0, "worker processes; 0 = one for each GPU, without GPUs one for each core", "convention", ge=0)
    address: str | None = key(
        None, "of a Ray cluster to join (host:port, or auto); none = start one here and stop it again", "convention"
    )

    def thread_count(self, task: Task) -> int:
        """Threads of a worker: one, unless asked for more, so that it does not depend on how many workers there are."""
        return self.threads or 1

    def start(self, task: Task, federation: Federation) -> RayTrainer:
        """Start or join a cluster, place the data there, and start the workers.

        Raises:
            InputError: the cluster cannot be joined, or lacks what is asked for.
        """
        return RayTrainer(task, federation, self)


class _Actor:
    """A process with a worker, which it makes when it is first needed: also after a restart."""

    worker: Worker | None = None

    def ready(self, made_of: list[Any]) -> Worker:
        """The worker."""
        if self.worker is None:
            import ray

            placed, *rest = made_of
            self.worker = Worker(*ray.get(placed), *rest)
        return self.worker

    def come_up(self, made_of: list[Any]) -> None:
        """Make the worker; an answer says that it is there."""
        self.ready(made_of)

    def train(self, made_of: list[Any], theta_P: np.ndarray, order: Order) -> list[Packed]:
        """Have the worker train a block."""
        return self.ready(made_of).train(theta_P, order)


class RayTrainer(Trainer):
    """The Ray engine at work."""

    def __init__(self, task: Task, federation: Federation, settings: Ray) -> None:
        super().__init__(task, federation)
        self.settings = settings
        self.stop_it = _connect(settings)
        try:
            self._place(task, federation)
        except BaseException:
            self.close()
            raise

    def _place(self, task: Task, federation: Federation) -> None:
        import ray

        settings, have = self.settings, ray.cluster_resources()
        gpus = int(have.get("GPU", 0)) if settings.device == "auto" or settings.device.startswith("cuda") else 0
        if settings.device.startswith("cuda") and not gpus:
            raise InputError("device", settings.device, "the cluster has no GPU; use cpu or auto")
        threads, cores = settings.thread_count(task), int(have.get("CPU", 1))
        if threads > cores:
            raise InputError("threads", threads, f"the cluster has {cores} cores")
        number = settings.workers or gpus or cores // threads
        inner: dict[str, Any] = {field: getattr(settings, field) for field in Engine.model_fields}
        self.engine = Cohort(**inner) if gpus else Auto(**inner).choose(task)[0]
        self.on_gpu = gpus > 0
        share = {"num_gpus": min(1.0, gpus / number)} if gpus else {"num_cpus": min(threads, cores / number)}
        placed = [ray.put(Blueprint.of(task)), ray.put(federation)]  # here; Ray copies it once to each other node
        self.made_of = [placed, self.engine, "cuda" if gpus else "cpu", threads]
        actor = ray.remote(_Actor).options(**share, max_restarts=-1, max_task_retries=0)
        self.workers = [actor.remote() for _ in range(number)]
        self.idle: list[Any] = []
        self.coming = {worker.come_up.remote(self.made_of): (worker, 0) for worker in self.workers}
        self.running: dict[Any, tuple[Any, int]] = {}
        self.about = f"{number} worker{'s' * (number > 1)} on {'GPUs' if gpus else f'{threads} thread each'}"
        self.about += f", running {self.engine.name}"
        self._next()

    def close(self) -> None:
        """Stop the workers, and the cluster if it was started here."""
        import ray

        for worker in getattr(self, "workers", []):
            ray.kill(worker)
        self.workers = []
        if self.stop_it:
            ray.shutdown()
            self.stop_it = False

    def blocks(self, order: Order) -> list[list[int]]:
        """Which rows of an order form a block, in the order in which updates are added up."""
        total = len(order.ids)
        if self.engine.name == "loop":
            return [[row] for row in range(total)]
        size = max(-(-total // SHARES), SMALLEST_ON_GPU if self.on_gpu else 1)
        size = self.settings.block or min(size, default_block(self.task.layout.total))
        line = longest_first(self._steps(order))
        return [line[begin : begin + size] for begin in range(0, total, size)]

    def _steps(self, order: Order) -> list[int]:
        local = self.task.optimizer.bottom
        return [int(n) for n in local_steps(self.sizes(order.ids), local.batch_size, local.epochs)]

    def train(self, theta_P: Tensor, order: Order) -> Iterator[Trained]:
        """Hand out the blocks, longest first; take the answers in the blocks' own order."""
        import ray

        self._forget()
        steps, blocks = self._steps(order), self.blocks(order)
        waiting = deque(longest_first([sum(steps[row] for row in block) for block in blocks]))
        sent, deaths, done = ray.put(theta_P.detach().cpu().numpy()), [0] * len(blocks), {}
        for wanted in range(len(blocks)):
            while wanted not in done:
                while waiting and self.idle:
                    worker, block = self.idle.pop(), waiting.popleft()
                    self.running[worker.train.remote(self.made_of, sent, order.part(blocks[block]))] = (worker, block)
                for ref in self._next():
                    worker, block = self.running.pop(ref)
                    try:
                        done[block] = ray.get(ref)
                        self.idle.append(worker)
                    except ray.exceptions.RayTaskError as error:
                        raise RunError(f"a worker raised {error.cause!r} in round {order.round + 1}") from error
                    except ray.exceptions.RayError as error:
                        deaths[block] += 1
                        self._lost(error, [order.ids[row] for row in blocks[block]], order.round, deaths[block])
                        waiting.appendleft(block)
                        self.coming[worker.come_up.remote(self.made_of)] = (worker, 0)
            yield from self._unpacked(done.pop(wanted))

    def _unpacked(self, blocks: list[Packed]) -> Iterator[Trained]:
        for block in blocks:
            yield block.unpack(self.task.device)

    def _next(self) -> list[Any]:
        """Blocks that have come to an end; workers that have come up are made idle on the way.

        Raises:
            RunError: no worker comes up any more.
        """
        import ray

        began = time.monotonic()
        while True:
            ready, _ = ray.wait([*self.running, *self.coming], num_returns=1, timeout=5.0)
            for ref in ready:
                if ref in self.coming:
                    self._came(ref)
            ended = [ref for ref in ready if ref in self.running]
            if ended or (ready and self.idle):
                return ended
            alone = not self.running and not self.idle
            if alone and (not self.coming or time.monotonic() - began > PATIENCE):
                raise RunError(
                    f"no Ray worker is left, and none came up within {PATIENCE:.0f} s; see the cluster's logs,"
                    " or use engine.name=auto"
                )

    def _came(self, ref: Any) -> None:
        import ray

        worker, tries = self.coming.pop(ref)
        try:
            ray.get(ref)
            self.idle.append(worker)
        except ray.exceptions.RayTaskError as error:
            raise RunError(f"a Ray worker could not be started: {error.cause!r}") from error
        except ray.exceptions.RayError as error:
            if tries >= DEATHS:
                log.warning("a Ray worker does not come up any more (%s); going on without it", _brief(error))
                return
            self.coming[worker.come_up.remote(self.made_of)] = (worker, tries + 1)

    def _lost(self, error: Exception, ids: list[int], round: int, deaths: int) -> None:
        some = ", ".join(map(str, ids[:10])) + (f" and {len(ids) - 10} more" if len(ids) > 10 else "")
        if deaths >= DEATHS:
            raise RunError(
                f"round {round + 1}: {deaths} workers in turn died training clients {some}: {_brief(error)};"
                " if memory is short, set a smaller engine.block or client.batch_size"
            )
        log.warning(
            "round %d: a worker was lost (%s); clients %s are trained again elsewhere", round + 1, _brief(error), some
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
                    self.coming[worker.come_up.remote(self.made_of)] = (worker, 0)


def _connect(settings: Ray) -> bool:
    """Join or start a cluster, unless this process is in one already; whether it is to be left again."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise InputError("name", "ray", "ray is not installed: pip install 'ray', or use engine.name=auto") from None
    if ray.is_initialized():
        return False
    if (settings.address or "").startswith("ray://"):
        allowed = (
            "Ray Client cannot share memory with its workers; run on a node of the cluster, with host:port or auto"
        )
        raise InputError("address", settings.address, allowed)
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    local: dict[str, Any] = {} if settings.address else {"include_dashboard": False}
    try:
        ray.init(
            address=settings.address or "local",
            runtime_env={"env_vars": {"PYTHONPATH": path}},
            logging_level=logging.ERROR,
            **local,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError("address", settings.address, f"no Ray cluster could be joined: {_brief(error)}") from None
    finally:
        _put_back(handlers)
    return True


def _put_back(handlers: dict[signal.Signals, Any]) -> None:
    """Undo what Ray does to signals: Ctrl-C is ours."""
    for number, handler in handlers.items():
        try:
            signal.signal(number, handler)
        except ValueError:  # not in the main thread, where there is nothing to undo
            return


def _brief(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
