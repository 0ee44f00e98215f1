"""`fedsam doctor`: what is installed here, and what of fedsam works with it."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from fedsam.cli.options import Debug, Json
from fedsam.errors import FedsamError

PLAIN = "torch", "torchvision", "numpy", "flwr", "ray", "pydantic", "scikit-learn", "matplotlib", "plotly", "optuna"
HERE, STARTED = ("loop", "cohort"), ("ray", "flower")
"""Engines that train in this process, and those that start processes."""
ROUND = {"data.clients": 4, "cohort": 2, "rounds": 1, "client.epochs": 1}


def doctor(
    start: Annotated[
        bool, typer.Option("--start", help="also try the engines that start processes, for half a minute or so")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Print what is installed, with versions, and which engines, GPUs and extras work here.

    Engines are tried by training for one round. Nothing is fetched and nothing written.
    """
    found = examined(start)
    if as_json:
        print(json.dumps(found))
    else:
        print("\n\n".join(f"{title}\n{_lines(part)}" for title, part in found.items()))
    if broken := [name for name, told in found["engines"].items() if told.startswith("does not work")]:
        raise FedsamError(f"not all is well: {', '.join(broken)}")


def examined(start: bool = False) -> dict[str, dict[str, str]]:
    """What there is, by heading and name.

    Args:
        start: also engines that start processes.
    """
    import fedsam

    home = Path(fedsam.__file__).parent
    checkout = (home.parent / "pyproject.toml").is_file()
    return {
        "fedsam": {"version": fedsam.__version__, "from": f"{home}{' (a checkout)' if checkout else ''}"},
        "machine": {
            "Python": f"{platform.python_version()} ({sys.executable})",
            "system": platform.platform(),
            **_processors(),
        },
        "packages": {name: installed(name) for name in PLAIN},
        "GPUs": _gpus(),
        "engines": {**{name: tried(name) for name in HERE}, **{name: _later(name, start) for name in STARTED}},
        "extras": extras(),
        "data": _data(),
    }


def installed(name: str) -> str:
    """The version of a distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def tried(engine: str) -> str:
    """Whether a round can be trained by an engine."""
    from fedsam.jobs.simulate import simulate
    from fedsam.run import Run

    try:
        simulate(Run.from_keys({**ROUND, "engine.name": engine, "engine.device": "auto"}), quiet=True)
    except Exception as error:  # whatever it is, it is what this is for
        return f"does not work: {' '.join(f'{type(error).__name__}: {error}'.split())[:300]}"
    return "works"


def extras() -> dict[str, str]:
    """Each extra's packages, and which of them there are."""
    from fedsam.border.extra import EXTRAS

    told: dict[str, list[str]] = {}
    for package, extra in EXTRAS.items():
        there = find_spec(package) is not None
        told.setdefault(extra, []).append(f"{package} {_version_of(package)}" if there else f"{package} missing")
    found = {}
    for extra, lines in sorted(told.items()):
        missing = any(line.endswith(" missing") for line in lines)
        found[extra] = ", ".join(lines) + (f"; pip install 'fedsam[{extra}]'" if missing else "")
    return found


def _version_of(package: str) -> str:
    for name in (package.replace("_", "-"), f"{package}-skinny"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "(version unknown)"


def _later(engine: str, start: bool) -> str:
    if start:
        return tried(engine)
    package = {"ray": "ray", "flower": "flwr"}[engine]
    return "installed; --start tries it" if find_spec(package) else f"does not work: {package} is missing"


def _processors() -> dict[str, str]:
    from fedsam.runs.environment import hardware

    about = hardware()
    threads = f"{about['cores']} cores, {about['threads']} threads of torch"
    return {"processor": f"{about['processor']}, {threads}", **_told("memory", _memory)}


def _memory() -> str:
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    total, free = (int(lines[name].split()[0]) / 2**20 for name in ("MemTotal", "MemAvailable"))
    return f"{total:.1f} GiB, {free:.1f} of them free"


def _gpus() -> dict[str, str]:
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = f"torch is built for CUDA {built}, and finds none" if built else "this torch is built without CUDA"
        return {"none": why}
    return {
        f"cuda:{number}": f"{about.name}, {about.total_memory / 2**30:.0f} GiB"
        for number in range(torch.cuda.device_count())
        for about in [torch.cuda.get_device_properties(number)]
    }


def _data() -> dict[str, str]:
    from fedsam.data.stored import data_folder

    place = data_folder()
    kept = sorted(part.name for part in place.iterdir()) if place.is_dir() else []
    return {"folder": f"{place}{'' if place.is_dir() else ' (not there yet)'}", "holds": ", ".join(kept) or "nothing"}


def _told(name: str, ask: Callable[[], str]) -> dict[str, str]:
    """What can be asked on some systems alone."""
    try:
        return {name: ask()}
    except (OSError, KeyError, ValueError):
        return {}


def _lines(part: dict[str, Any]) -> str:
    width = max(map(len, part))
    return "\n".join(f"  {name:<{width}}  {told}" for name, told in part.items())
