"""What a run ran on: hardware, versions, commit."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

log = logging.getLogger("fedsam")

PACKAGES = ("fedsam", "torch", "torchvision", "numpy", "flwr", "ray")


def versions() -> dict[str, str]:
    """Version of Python and of each package that is installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores at hand, torch's threads and GPUs."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    return {
        "processor": _processor(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "system": platform.platform(),
    }


def commit() -> str | None:
    """The commit of the source tree that fedsam is imported from, with + if it was changed; None where there is no
    such tree.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=10
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "-uno"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def describe() -> dict[str, Any]:
    """Hardware, versions and commit."""
    return {"hardware": hardware(), "versions": versions(), "commit": commit()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def say_differences(then: dict[str, Any], now: dict[str, Any]) -> None:
    """Warn of what decides the bits and has changed, if anything has."""
    if differing := differences(then, now):
        log.warning("going on elsewhere than the run was started, so bits may differ: %s", ", ".join(differing))


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What decides the bits and has changed, in words."""

    def deciding(about: dict[str, Any]) -> dict[str, Any]:
        hardware, built = about.get("hardware", {}), about.get("versions", {})
        spec = {name: hardware.get(name) for name in ("processor", "threads", "gpus")}
        return spec | {name: built.get(name) for name in ("torch", "numpy")} | {"device": about.get("device")}

    before, after = deciding(then), deciding(now)
    return [f"{name} {before[name]} then, {after[name]} now" for name in before if before[name] != after[name]]
