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
from contextlib import closing, suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedsam.bench.common.work import Work


def opened(work: Work) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each installed peer's name and round, one after the other: as the next one is asked for, the one before is
    closed, so that none is measured beside another's processes. One that is not installed is named on standard error.
    """
    for name, module in _modules():
        try:
            peer = module.Peer(work)
        except ModuleNotFoundError as error:
            print(f"without {name}: {error}; install it with: {module.INSTALL}", file=sys.stderr)
            continue
        with closing(peer):
            yield name, peer.round


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
