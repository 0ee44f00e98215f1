"""Where `fedsam.strategies` and `fedsam.experiments` lie: in an installed package inside this folder, in a checkout and
in a Flower app beside it.

In a checkout they can be imported as `strategies` and `experiments` too, as long as nothing else of that name comes
first on the path; both names stand for the same modules. Inside the package only the long names are used, so that
folders of the same names in somebody's current directory hide nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location, spec_from_loader
from pathlib import Path
from types import ModuleType

from fedsam.border.moved import MOVED

NAMES = "strategies", "experiments"
PACKAGE = "fedsam"
HERE = Path(__file__).resolve().parents[1]


class _Alias(Loader):
    """Gives a module that is there under another name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self.name)
        self.own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.own


class Beside:
    """A finder of these packages, and of their modules under their short names."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec of a module of these packages, None for any other."""
        first, _, rest = name.partition(".")
        if first == PACKAGE and rest in NAMES:
            inside = HERE / rest  # in a checkout a link, for tools that read the code without running it
            folder = inside.resolve() if inside.is_dir() else HERE.parent / rest
            file = folder / "__init__.py"
            return spec_from_file_location(name, file, submodule_search_locations=[str(folder)])
        if name in MOVED:
            return spec_from_loader(name, _Alias(MOVED[name]))
        if first not in NAMES or not rest or sys.modules.get(first) is not sys.modules.get(f"{PACKAGE}.{first}"):
            return None
        long = f"{PACKAGE}.{name}"
        long = MOVED.get(long, long)
        parent, _, last = long.rpartition(".")
        stem = Path(next(iter(import_module(parent).__path__))) / last
        if stem.is_dir():
            return spec_from_loader(name, _Alias(long), is_package=True)
        return spec_from_loader(name, _Alias(long)) if stem.with_suffix(".py").is_file() else None


def install() -> None:
    """Let Python ask `Beside` first."""
    if Beside not in sys.meta_path:
        sys.meta_path.insert(0, Beside)


def same(name: str) -> None:
    """Let a package that was imported by its short name be the one of the long name."""
    if name in NAMES:
        sys.modules[name] = import_module(f"{PACKAGE}.{name}")
