"""The `__init__.py` of packages with short imports: which class stands in which module, as type checkers read it."""

from __future__ import annotations

import ast
import re

from fedsam.algorithm.strategy import Average, Strategy
from fedsam.config import Component, find, names
from fedsam.data.augment.base import Augment
from fedsam.data.base import Dataset
from fedsam.data.partition.base import Partition
from fedsam.models.base import Model
from fedsam.optim.base import ClientOptimizer
from fedsam.schedule.base import Schedule
from fedsam.tasks.base import Task

PACKAGES: dict[str, tuple[type[Component], ...]] = {
    "fedsam/data/__init__.py": (Dataset,),
    "fedsam/data/augment/__init__.py": (Augment,),
    "fedsam/data/partition/__init__.py": (Partition,),
    "fedsam/models/__init__.py": (Model,),
    "fedsam/optim/__init__.py": (ClientOptimizer,),
    "fedsam/schedule/__init__.py": (Schedule,),
    "fedsam/tasks/__init__.py": (Task,),
    "strategies/__init__.py": (Strategy, Average),
}
"""By file, whose parts it has: those of the first kind lie in the package, others in one inside it."""


def classes(*roots: type[Component]) -> dict[str, str]:
    """The parts that are called as their modules are, with these modules."""
    parts = [find(root, name) for root in roots for name in names(root)]
    called = {part.__name__: part.__module__ for part in parts}
    return {
        name: module
        for name, module in sorted(called.items())
        if name.lower() == module.rpartition(".")[2].replace("_", "")
    }


def written(file: str, before: str) -> str:
    """The module, with the docstring that it has."""
    roots = PACKAGES[file]
    package, *inside = (root.package for root in roots)
    found = classes(*roots)
    strategies = package == "fedsam.strategies"
    about = ast.get_docstring(ast.parse(before))
    lines = [
        f'"""{about}"""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import TYPE_CHECKING",
        "",
        *(["from fedsam.border.beside import same"] if strategies else []),
        "from fedsam.border.lazy import short",
        "",
        "if TYPE_CHECKING:",
        *(
            f"    from {module} import {name}"
            for name, module in sorted(found.items(), key=lambda each: _natural(each[1]))
        ),
        "",
        "__all__ = [",
        *(f'    "{name}",' for name in sorted(found, key=_case)),
        "]",
        f"__getattr__ = short({', '.join(f'{chr(34)}{name}{chr(34)}' for name in (package, *inside))})",
        *(["", "same(__name__)"] if strategies else []),
    ]
    return "\n".join([*lines, ""])


def _case(name: str) -> tuple[bool, list[str | int]]:
    """As ruff sorts: constants first, then classes."""
    return not name.isupper(), _natural(name)


def _natural(name: str) -> list[str | int]:
    """A name with its numbers as numbers."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
