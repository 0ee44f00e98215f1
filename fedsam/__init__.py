"""Federated-learning simulation with sharpness-aware clients and server-side weight averaging.

>>> from fedsam import Run, simulate
>>> result = simulate(Run(rounds=2, evaluate_every=1))
>>> [record["round"] for record in result.metrics]
[1, 2]
"""

from __future__ import annotations

import os
import sys

_as_command = sys.argv[:1] == ["-m"] and __name__ in {word.partition(".")[0] for word in sys.orig_argv}
if _as_command and sys.path[0] in ("", os.getcwd()):
    sys.path.append(sys.path.pop(0))  # first, as `python -m` has it, it would hide Python's own modules

import importlib
from typing import TYPE_CHECKING, Any

from fedsam.border import beside

if TYPE_CHECKING:
    from fedsam.data.objects import dataset
    from fedsam.errors import FedsamError, InputError, RunError
    from fedsam.jobs.compare import compare
    from fedsam.jobs.geometry import geometry
    from fedsam.jobs.partition import partition
    from fedsam.jobs.report import report
    from fedsam.jobs.simulate import resume, simulate
    from fedsam.jobs.study import study
    from fedsam.jobs.sweep import sweep
    from fedsam.jobs.tune import tune
    from fedsam.run import Run
    from fedsam.runs.result import Listener, Result

__version__ = "0.2.0"
__all__ = [
    "FedsamError",
    "InputError",
    "Listener",
    "Result",
    "Run",
    "RunError",
    "compare",
    "dataset",
    "geometry",
    "partition",
    "report",
    "resume",
    "simulate",
    "study",
    "sweep",
    "tune",
]

beside.install()

_HOME = {
    "FedsamError": "errors",
    "InputError": "errors",
    "Listener": "runs.result",
    "Result": "runs.result",
    "Run": "run",
    "RunError": "errors",
    "compare": "jobs.compare",
    "dataset": "data.objects",
    "geometry": "jobs.geometry",
    "partition": "jobs.partition",
    "report": "jobs.report",
    "resume": "jobs.simulate",
    "simulate": "jobs.simulate",
    "study": "jobs.study",
    "sweep": "jobs.sweep",
    "tune": "jobs.tune",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    # Imported when first used: torch alone takes seconds, and `fedsam --help` needs none of it.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
