"""Short imports: `from fedsam.optim import ASAM` reads the one module that has it, and no other."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any


def short(package: str, *inside: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose modules each have a class that is called as the module is.

    Args:
        package: its name.
        inside: packages in it, whose classes are its own, too.
    """

    def find(name: str) -> Any:
        if name[:1].isupper():
            for home in (package, *inside):
                for module in pkgutil.iter_modules(import_module(home).__path__):
                    if module.name.replace("_", "") == name.lower() and not module.ispkg:
                        found = import_module(f"{home}.{module.name}")
                        if hasattr(found, name):
                            return getattr(found, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
