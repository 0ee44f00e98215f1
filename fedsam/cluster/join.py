"""The one place where a Ray cluster is started or joined.

One that is started here is this process's own: it listens on the loopback interface alone, lets nobody in without its
token, has a folder that only this user may enter, and leaves nothing behind, however this process ends.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from fedsam.cluster import keeper, secret
from fedsam.cluster.kept import now
from fedsam.cluster.patience import LIMIT, starting
from fedsam.errors import InputError, RunError

log = logging.getLogger("fedsam")

OURS = {  # nothing is sent anywhere, and no worker starts Python twice
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
BUSY = {  # a process that is slow is not taken for dead: those that died are seen by themselves
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_raylet_start_wait_time_s": "600",
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_gcs_rpc_server_connect_timeout_s": "60",
    "RAY_health_check_failure_threshold": "60",
}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # the name says what Ray does so on: the loopback interface alone
LOOK = 1.0  # seconds between two looks whether a cluster is there
SILENCE = 10.0  # seconds for which the head of one that was joined may refuse connections


class Cluster:
    """This process's membership in a Ray cluster."""

    def __init__(self) -> None:
        self.undo = ExitStack()
        self.looked = self.answered = time.monotonic()

    def leave(self) -> None:
        """Leave the cluster if it was joined here, and stop it if it was started here."""
        self.undo.close()

    def check(self, going: bool = False) -> None:
        """See that the cluster is there.

        Args:
            going: whether workers are at work. They need no raylet, which starts them, but the GCS: without it Ray ends
                this process within a minute.

        Raises:
            RunError: a process that is needed has ended, or the cluster's head does not answer any more.
        """
        now = time.monotonic()
        if going and now - self.looked < LOOK:
            return
        ended = _ended("gcs_server") if going else _ended("gcs_server", "raylet")
        if ended:
            raise RunError(f"Ray has stopped working: {' and '.join(ended)}; {MEMORY}")
        if now - self.looked < LOOK:
            return
        self.looked = now
        if _head_is_there():
            self.answered = now
        elif now - self.answered > SILENCE:
            raise RunError(f"the head of the Ray cluster has been gone for {now - self.answered:.0f} s")


MEMORY = "if memory was short, set fewer workers, or a smaller engine.block or client.batch_size"


def join(address: str | None = None, limit: float = LIMIT, quiet: bool = False, keep: bool = False) -> Cluster:
    """Start a cluster of this process's own, or join one, unless this process is in one already.

    Args:
        address: of a cluster to join: host:port, or auto, which is the one that RAY_ADDRESS names, or one that runs on
            this machine; None = a new one, whatever RAY_ADDRESS says.
        limit: seconds in which a new one must come up.
        quiet: whether nothing is shown of what its workers print.
        keep: whether it stays for the runs that follow, where a job keeps one.

    Raises:
        InputError: there is no Ray, no cluster at the address, or it does not let this process in.
        RunError: a new one does not come up.
    """
    with secret.environment(_unless_set(OURS)):
        try:
            import ray
        except ImportError:
            allowed = "ray is not installed: pip install 'ray', or use engine.name=auto"
            raise InputError("name", "ray", allowed) from None
    cluster, kept = Cluster(), now()
    if kept is not None and kept.holds and (not keep or kept.address != address or not _alive()):
        kept.leave()
    if ray.is_initialized():
        return cluster
    cluster.undo.enter_context(_printing(quiet))
    cluster.undo.callback(secret.reread)  # of the environment as it is then, so that the next one has its own token
    shown = {"logging_level": logging.CRITICAL if quiet else logging.ERROR, "log_to_driver": not quiet}
    try:
        if address is None:
            _start(cluster, limit, shown)
        else:
            _enter(cluster, address, shown)
    except BaseException:
        cluster.leave()
        raise
    if keep and kept is not None:
        kept.take_over(cluster.undo, address)
    return cluster


def _start(cluster: Cluster, limit: float, shown: dict[str, Any]) -> None:
    for folder, ended in keeper.clear_dead():
        log.warning("removed what a killed run had left: %s, and %d processes of Ray", folder, ended)
    token = secret.new()
    try:
        folder, lock = keeper.make()
        beside = keeper.start(folder)
    except OSError as error:
        raise RunError(f"no folder for Ray can be made ({error}); set TMPDIR to one on a disk with room") from None

    def stop() -> None:
        import ray

        ray.shutdown()  # if this is interrupted, the lock stays, and the rest is the keeper's once this process is gone
        keeper.give_up(folder, lock)
        beside.wait()
        keeper.clear(folder)  # if the keeper has been killed

    cluster.undo.callback(stop)
    own = {**_unless_set(BUSY), **LOOPBACK, **token, keeper.MARK: str(folder)}
    try:
        with secret.environment(own), starting(folder, limit), _on_loopback():
            _init(address="local", _temp_dir=str(folder / "r"), include_dashboard=False, **shown)
    except Exception as error:
        raise RunError(f"Ray did not start: {brief(error)}") from error


def _enter(cluster: Cluster, address: str, shown: dict[str, Any]) -> None:
    import ray
    from ray._private import services
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    must_answer(address)
    with secret.environment(secret.known()):
        try:
            found = services.canonicalize_bootstrap_address(address)
            if found is None:
                raise ConnectionError("there is none on this machine")
            secret.reread()
            GcsClient(address=found, cluster_id=None)  # fails at once, where Ray itself tries again and again
            cluster.undo.callback(ray.shutdown)
            _init(address=found, **shown)
        except ray.exceptions.AuthenticationError:
            allowed = "the cluster wants its token, and got none or another; set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
            raise InputError("address", address, allowed) from None
        except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            raise InputError("address", address, f"no Ray cluster could be joined: {brief(error)}") from None


def _init(**settings: Any) -> None:
    """Have Ray start or join, and put back what it changes in this process."""
    import ray
    from ray.job_config import JobConfig

    path = [os.path.abspath(entry) for entry in reversed(sys.path)]  # each is put before those that precede it
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    secret.reread()
    try:
        with secret.environment(_unless_set(OURS)):
            ray.init(job_config=JobConfig(_py_driver_sys_path=path), **settings)
    finally:
        _put_back(handlers)


def must_answer(address: str) -> None:
    """Refuse an address at which nothing listens: Ray itself would try for minutes."""
    if address.startswith("ray://"):
        allowed = "Ray Client cannot share memory with its workers; run on one of its nodes, with host:port or auto"
        raise InputError("address", address, allowed)
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=10):
            return
    except (OSError, ValueError, OverflowError) as error:
        allowed = f"no Ray cluster could be reached there ({error}); give its head as host:port, or auto on a node"
        raise InputError("address", address, allowed) from None


def brief(error: BaseException) -> str:
    """The kind of an error and its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _unless_set(values: dict[str, str]) -> dict[str, str]:
    return {name: os.environ.get(name, value) for name, value in values.items()}


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Have a cluster listen where only this machine reaches it, as Ray does by itself on macOS and Windows."""
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False  # read once from the environment, perhaps long ago
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _printing(quiet: bool) -> Iterator[None]:
    """Have what workers print go to standard error, where Ray takes standard output, and of Ray's own news one line."""
    from ray._private import worker

    theirs = worker.print_to_stdstream

    def ours(data: dict[str, Any], ignore_prefix: bool) -> None:
        if not quiet:
            lines = data["lines"] if data.get("pid") != "raylet" else [data["lines"][0].partition("\n")[0]]
            theirs({**data, "lines": lines, "is_err": True}, ignore_prefix)

    worker.print_to_stdstream = ours
    try:
        yield
    finally:
        worker.print_to_stdstream = theirs


def _put_back(handlers: dict[signal.Signals, Any]) -> None:
    """Undo what Ray does to signals: Ctrl-C is ours."""
    for number, handler in handlers.items():
        try:
            signal.signal(number, handler)
        except ValueError:  # not in the main thread, where there is nothing to undo
            return


def _node() -> Any:
    from ray._private import worker

    return worker._global_node


def _ended(*needed: str) -> list[str]:
    """Those processes of a cluster that was started here that are no more, and how they ended."""
    node = _node()
    ended = node.dead_processes() if node else []
    return [f"its {name} {_how(process.returncode)}" for name, process in ended if name in needed]


def _alive() -> bool:
    return not _ended("gcs_server", "raylet") and _head_is_there()


def _how(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _head_is_there() -> bool:
    """Whether the head of a cluster that was joined takes connections; of one's own the process itself is looked at."""
    import ray

    node = _node()
    if node is None or node.all_processes:
        return True
    host, _, port = str(ray.get_runtime_context().gcs_address).rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:  # busy, or the network is
        return True
