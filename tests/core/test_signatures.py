"""What the classes say of themselves: signatures, help pages, completion, types, and short imports."""

from __future__ import annotations

import ast
import importlib
import inspect
import pydoc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fedsam import InputError, Run
from fedsam.config import Component, find, name_of, names, root_of
from fedsam.data.digits import Digits
from fedsam.optim.adamw import AdamW
from fedsam.optim.asam import ASAM
from fedsam.optim.fsam import FSAM
from fedsam.optim.sgd import SGD
from fedsam.reference import held, short

ROOT = Path(__file__).parents[2]
SHORT = ("optim", "strategies", "data", "data.partition", "data.augment", "models", "schedule", "tasks")


def kinds() -> list[type[Component]]:
    """The roots of all kinds of parts that a run has, at whatever depth."""
    found: list[type[Component]] = []

    def walk(cls: Any) -> None:
        for info in cls.model_fields.values():
            root = root_of(info)
            if root and root not in found:
                found.append(root)
                for name in names(root):
                    walk(find(root, name))

    walk(Run)
    return found


EVERY = [pytest.param(find(root, name), id=f"{root.kind}-{name}") for root in kinds() for name in names(root)]


def test_a_signature_has_the_keys_of_the_base() -> None:
    parameters = inspect.signature(ASAM).parameters
    for name in ("rho", "base", "lr", "momentum", "batch_size", "epochs", "schedule"):
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["rho"].default == ASAM().rho
    assert parameters["lr"].default == SGD().lr
    assert parameters["others"].kind is inspect.Parameter.VAR_KEYWORD
    assert next(iter(parameters)) == "rho"
    assert "others" not in inspect.signature(Run).parameters
    assert list(inspect.signature(Run).parameters).count("lr") == 0
    assert {"alpha", "partition", "clients"} <= set(inspect.signature(Digits).parameters)


@pytest.mark.parametrize("cls", EVERY)
def test_whatever_a_signature_names_is_taken_and_can_be_read(cls: Any) -> None:
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            made = cls(**{name: parameter.default})
            value = getattr(made, name)
            assert (value.name if isinstance(value, Component) else value) == parameter.default


def test_keys_of_a_part_inside_are_read_as_they_are_given() -> None:
    made = ASAM(rho=0.5, lr=0.3, momentum=0.9)
    assert (made.lr, made.momentum) == (0.3, 0.9) == (made.base.lr, made.base.momentum)
    assert ASAM(base=AdamW(beta1=0.8)).beta1 == 0.8
    assert FSAM(ascent=ASAM(lr=0.2)).lr == 0.2
    with pytest.raises(AttributeError):
        _ = made.beta1
    with pytest.raises(AttributeError):
        _ = made.descend  # a method of the base is none of its keys
    with pytest.raises(InputError, match="beta1"):
        ASAM(beta1=0.8)


def test_help_is_a_page_about_the_class() -> None:
    page = pydoc.plain(pydoc.render_doc(ASAM))
    assert len(page.splitlines()) < 140
    assert "lr: client learning rate (0.1" in page
    assert "rho: " in page
    for word in ("model_fields", "parse_raw", "model_dump", "__pydantic", "schema_json", "from_orm"):
        assert word not in page
    assert page.startswith("Python Library Documentation: class ASAM")
    run = pydoc.plain(pydoc.render_doc(Run))
    assert "rounds: federated rounds, T (150" in run
    assert "parse_raw" not in run


def test_completion_shows_fields_and_nothing_of_pydantic() -> None:
    shown = {name for name in dir(ASAM()) if not name.startswith("_")}
    assert {"rho", "base", "replace", "keys", "name", "step"} <= shown
    assert not {"model_fields", "dict", "json", "copy", "model_dump", "parse_obj"} & shown
    assert not {"model_fields", "model_dump"} & set(dir(ASAM))


def test_docstrings_stay_the_classes_own() -> None:
    assert ASAM.__dict__["__doc__"] in inspect.getsource(ASAM)
    assert inspect.getdoc(ASAM).startswith(inspect.cleandoc(ASAM.__dict__["__doc__"]).split("\n")[0])  # type: ignore[union-attr]


@pytest.mark.parametrize("file", [*held.MODULES, *short.PACKAGES])
def test_what_type_checkers_read_is_not_stale(file: str) -> None:
    before = (ROOT / file).read_text(encoding="utf-8")
    after = held.written(file) if file in held.MODULES else short.written(file, before)
    assert before == after, "run make format"


def test_type_checkers_see_the_keys_of_a_run() -> None:
    tree = ast.parse(inspect.getsource(Run))
    made = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.args.kwonlyargs)
    assert [argument.arg for argument in made.args.kwonlyargs] == [*Run.model_fields, "metrics"]


@pytest.mark.parametrize("package", SHORT)
def test_every_part_has_a_short_import_that_type_checkers_see(package: str) -> None:
    module = importlib.import_module(f"fedsam.{package}")
    (root,) = [kind for kind in kinds() if kind.package == f"fedsam.{package}"]
    parts = [find(root, name) for name in names(root) if name not in ("none", "auto")]
    for part in parts:
        assert getattr(module, part.__name__) is part
        assert part.__name__ in module.__all__
    for name in module.__all__:
        assert inspect.isclass(getattr(module, name))
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body for alias in node.names if isinstance(node, ast.ImportFrom)}  # type: ignore[attr-defined]
    assert set(seen) == set(module.__all__)
    for name, home in seen.items():
        assert getattr(importlib.import_module(str(home)), name) is getattr(module, name)
    with pytest.raises(ImportError):
        exec(f"from fedsam.{package} import NoSuchThing")


def test_averages_are_imported_beside_strategies() -> None:
    from strategies.swa import SWA as OLD

    from fedsam.strategies import EMA, SWA, FedAvg, WiMA
    from strategies import SWA as ALIAS

    assert SWA is OLD is ALIAS
    assert [name_of(each) for each in (SWA, EMA, WiMA, FedAvg)] == ["swa", "ema", "wima", "fedavg"]


def test_a_short_import_reads_one_module_alone() -> None:
    code = (
        "import sys\nfrom fedsam.optim import ASAM\n"
        "assert 'fedsam.optim.gsam' not in sys.modules and 'fedsam.optim.looksam' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "fedsam" / "py.typed").is_file()


GOOD = """
from fedsam import Run, simulate, sweep
from fedsam.data import Digits
from fedsam.optim import ASAM, FSAM, SGD, AdamW
from fedsam.strategies import SWA, FedAvg

optimiser = ASAM(rho=0.5, lr=0.1, momentum=0.9, batch_size=16)
rate: float = optimiser.lr
other = ASAM(base=AdamW(lr=0.01), beta1=0.8)
third = FSAM(ascent=ASAM(rho=0.1), lr=0.2)
run = Run(data=Digits(alpha=0.1, clients=20), client=optimiser, average=SWA(cycle=5), rounds=20)
same = Run(client="asam", data={"name": "digits", "alpha": 0.1}, server=FedAvg())
value = simulate(run).rows()
table = sweep(run, {"client.name": ["sgd", "sam"]}, seeds=2).df
"""
BAD = {
    "ASAM(rhoo=0.5)": "rhoo",
    "ASAM(rho='much')": "rho",
    "SGD(beta1=0.9)": "beta1",
    "Run(round=3)": "round",
    "Run(rounds='many')": "rounds",
    "Digits(alfa=0.1)": "alfa",
}


def checked(folder: Path, text: str) -> list[str]:
    (folder / "user.py").write_text(text, encoding="utf-8")
    words = [sys.executable, "-m", "mypy", "--config-file", "", "--strict", "--cache-dir", str(folder), "user.py"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert "user.py: error" not in done.stdout
    return [line for line in done.stdout.splitlines() if line.startswith("user.py")]


ENVIRONMENT = {"PATH": "/usr/bin:/bin", "MYPYPATH": str(ROOT)}


@pytest.mark.slow
def test_a_type_checker_understands_them(tmp_path: Path) -> None:
    begin = "from fedsam import Run\nfrom fedsam.data import Digits\nfrom fedsam.optim import ASAM, SGD\n"
    assert checked(tmp_path, GOOD) == []
    found = checked(tmp_path, begin + "\n".join(BAD) + "\n")
    for line, word in enumerate(BAD.values(), begin.count("\n") + 1):
        assert any(f"user.py:{line}: error" in each and word in each for each in found)
