"""Other frameworks, on the same work. One peer, one module with a class `Peer`, its `PACKAGE`, and `INSTALL`, how to
install it.

`Peer(work)` makes everything ready and raises `ModuleNotFoundError` where the framework is not installed; `round` does
one round, from sampling the cohort to the new global model; `close` stops what was started.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedsam.bench.common.work import Work


@contextmanager
def opened(work: Work) -> Iterator[dict[str, Callable[[], object]]]:
    """Each installed peer's round, by name; one that is not installed is named on standard error."""
    with ExitStack() as stack:
        rounds: dict[str, Callable[[], object]] = {}
        for name, module in _modules():
            try:
                rounds[name] = stack.enter_context(closing(module.Peer(work))).round
            except ModuleNotFoundError as error:
                print(f"without {name}: {error}; install it with: {module.INSTALL}", file=sys.stderr)
        yield rounds


def versions() -> dict[str, str]:
    """The version of each peer that is installed, by package."""
    found = {}
    for _, module in _modules():
        with suppress(PackageNotFoundError):
            found[module.PACKAGE] = version(module.PACKAGE)
    return found


def _modules() -> list[tuple[str, Any]]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [(name, importlib.import_module(f"{__name__}.{name}")) for name in names]
