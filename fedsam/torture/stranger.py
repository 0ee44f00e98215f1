"""A stranger at the ports of a Ray cluster that was started here: another process of the machine, without its token."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from fedsam.torture.base import Scale, Trial

ATTEMPT = """
import sys, ray
ray.init(address=sys.argv[1], logging_level="CRITICAL", log_to_driver=False)
print("let in", ray.get(ray.remote(lambda: 7).remote()))
"""


def campaign(folder: Path, scale: Scale) -> Iterator[Trial]:
    """Somebody with no token, with a wrong one, and at the machine's other addresses."""
    import ray

    from fedsam.cluster.join import join

    cluster = join(quiet=True)
    try:
        address = str(ray.get_runtime_context().gcs_address)
        port = address.rpartition(":")[2]
        for what, where, more in (
            ("no token", address, {}),
            ("a wrong token", address, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}),
            ("no token, by the machine's own address", f"{ray.util.get_node_ip_address()}:{port}", {}),
        ):
            yield Trial(f"a stranger with {what}", _let_in(where, more, folder))
    finally:
        cluster.leave()


def _let_in(address: str, more: dict[str, str], folder: Path) -> str | None:
    """What a stranger's code printed, if it ran; it is given half a minute, in which Ray tries again."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    words = [sys.executable, "-c", ATTEMPT, address]
    begun = subprocess.Popen(
        words, env={**known, "HOME": str(folder), **more}, stdout=-1, stderr=-1, encoding="utf-8", errors="replace"
    )
    try:
        printed, _ = begun.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        begun.kill()
        printed, _ = begun.communicate()
    return printed.strip() or None
