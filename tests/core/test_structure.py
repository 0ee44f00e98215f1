"""How modules hang together: no import circle, every module in a room, every room says what it is, every test module
stands by itself.

Imports inside functions and under TYPE_CHECKING count, too.
"""

from __future__ import annotations

import ast
from collections import deque
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "fedsam": ROOT / "fedsam",
    "fedsam.strategies": ROOT / "strategies",
    "fedsam.experiments": ROOT / "experiments",
}
AT_THE_ROOT = {"__init__", "__main__", "config", "errors", "params", "rng", "run"}


def _modules() -> dict[str, Path]:
    found = {}
    for package, folder in FOLDERS.items():
        for file in sorted(folder.rglob("*.py")):
            inside = file.relative_to(folder).with_suffix("").parts
            if package == "fedsam" and inside[0] in ("strategies", "experiments"):
                continue  # links to the other two
            name = ".".join((package, *inside))
            found[name.removesuffix(".__init__")] = file
    return found


MODULES = _modules()


def _imported(file: Path) -> dict[str, int]:
    """The modules of the package that a file imports, each with a line that does."""
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            parts = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [part if part in MODULES else node.module for part in parts]
        for name in names:
            if name in MODULES:
                found.setdefault(name, node.lineno)  # type: ignore[attr-defined]
    return found


IMPORTS = {name: _imported(file) for name, file in MODULES.items()}


def _circle(imports: dict[str, dict[str, int]]) -> list[str]:
    """A shortest circle, its first module once more at its end; nothing if there is none."""
    shortest: list[str] = []
    for start in imports:
        before: dict[str, str] = {}
        line = deque([start])
        while line:
            here = line.popleft()
            for there in imports[here]:
                if there == start:
                    way = [here]
                    while way[-1] != start:
                        way.append(before[way[-1]])
                    way = [*reversed(way), start]
                    if not shortest or len(way) < len(shortest):
                        shortest = way
                elif there not in before:
                    before[there] = here
                    line.append(there)
    return shortest


def test_there_is_no_import_circle() -> None:
    way = _circle(IMPORTS)
    ties = [f"{MODULES[a].relative_to(ROOT)}:{IMPORTS[a][b]} imports {b}" for a, b in pairwise(way)]
    assert not way, "\n".join(ties)


def test_a_circle_would_be_found_with_what_ties_it() -> None:
    imports: dict[str, dict[str, int]] = {
        "a": {"b": 1},
        "b": {"c": 2, "d": 3},
        "c": {"d": 4},
        "d": {"b": 5},
        "e": {"a": 6},
    }
    assert _circle(imports) in (["b", "d", "b"], ["d", "b", "d"])
    assert _circle({**imports, "d": {}}) == []


def test_the_root_holds_only_what_every_room_stands_on() -> None:
    assert {file.stem for file in (ROOT / "fedsam").glob("*.py")} == AT_THE_ROOT


@pytest.mark.parametrize("package", sorted({name for name, file in MODULES.items() if file.name == "__init__.py"}))
def test_every_room_says_in_a_line_what_belongs_there(package: str) -> None:
    said = ast.get_docstring(ast.parse(MODULES[package].read_text(encoding="utf-8")))
    assert said


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("flwr", {"flower"}),
        ("ray", {"cluster", "engine", "flower", "torture", "tuning"}),
    ],
)
def test_a_heavy_library_stays_in_its_rooms(library: str, rooms: set[str]) -> None:
    found = set()
    for name, file in MODULES.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if any(each.partition(".")[0] == library for each in names):
                found.add(name.split(".")[1])
    assert found == rooms


def _test_modules_used(source: str, own: str) -> list[str]:
    """Test modules that a module under tests/ imports or names as the place of a component, each with a line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            folder = own.split(".")[: -node.level] if node.level else []
            base = ".".join([*folder, *filter(None, [node.module])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
            module, _, member = node.value.partition(":")
            names = [module] if member.isidentifier() else []
        for name in names:
            parts = name.split(".")
            if parts[0] == "tests" and parts[-1].startswith("test_") and name != own:
                found.append(f"line {node.lineno}: {name}")  # type: ignore[attr-defined]
    return found


def test_no_test_module_uses_another() -> None:
    """What several share is in tests/support, tests/oracles or a conftest."""
    used = {}
    for file in sorted((ROOT / "tests").rglob("*.py")):
        own = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        used[own] = _test_modules_used(file.read_text(encoding="utf-8"), own)
    assert len(used) > 100
    assert not {own: names for own, names in used.items() if names}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from tests.data.test_b import thing", "tests.data.test_b"),
        ("from tests.data import test_b", "tests.data.test_b"),
        ("from . import test_b", "tests.core.test_b"),
        ("from .test_b import thing", "tests.core.test_b"),
        ("from ..data.test_b import thing", "tests.data.test_b"),
        ("def f():\n    import tests.data.test_b", "tests.data.test_b"),
        ('keys = {"model.name": "tests.data.test_b:net"}', "tests.data.test_b"),
        ("from tests.support.rounds import trained", None),
        ('keys = {"model.name": "tests.core.test_a:net"}', None),
        ("from tests.core import test_a", None),
        ('match = "data.name = tests.data.test_b:Mine: is empty"', None),
    ],
)
def test_use_of_another_test_module_would_be_found(source: str, name: str | None) -> None:
    found = {line.partition(": ")[2] for line in _test_modules_used(source, "tests.core.test_a")}
    assert found == ({name} if name else set())
