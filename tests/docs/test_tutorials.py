"""The tutorials: what the site shows of them is what their code puts out."""

from __future__ import annotations

import ast
import base64
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
NUMBER = re.compile(r"[-+−]?\d[\d.,e]*|nan", re.IGNORECASE)
PLACE = re.compile(r"(?<![\w.<])/(?:home|root|tmp|usr|work|Users)/")

pytest.importorskip("mkdocs")
pytest.importorskip("nbclient")


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules that execute notebooks and make pages of them."""
    monkeypatch.syspath_prepend(ROOT / "docs" / "hooks")
    monkeypatch.delitem(sys.modules, "execute", raising=False)
    import execute  # type: ignore[import-not-found]
    import notebooks  # type: ignore[import-not-found]

    return execute, notebooks


def code_cells(book: Any) -> list[Any]:
    return [cell for cell in book["cells"] if cell["cell_type"] == "code"]


def shown(cell: Any) -> list[tuple[str, str]]:
    """Kind and words of each output, without numbers, which differ between machines."""
    found = []
    for output in cell["outputs"]:
        data = output.get("data", {"text/plain": output.get("text", "")})
        kind = next(kind for kind in ("image/png", "text/html", "text/plain") if kind in data)
        text = "" if kind == "image/png" else "".join(data[kind])
        found.append((kind, re.sub(r"\s+", " ", NUMBER.sub("#", text))))
    return found


def test_there_are_five() -> None:
    names = {"ten-minutes", "choosing-rho", "heterogeneity", "flatness", "own-method"}
    assert {path.stem for path in TUTORIALS} == names
    navigation = (ROOT / "mkdocs.yml").read_text()
    assert all(f"tutorials/{name}.md" in navigation for name in names)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_it_is_kept_as_executed_and_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < 300_000
    assert not PLACE.search(text)
    book = json.loads(text)
    cells = code_cells(book)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell["outputs"] for cell in cells if shows(cell))
    for output in (output for cell in cells for output in cell["outputs"]):
        assert output["output_type"] in {"stream", "execute_result"}
        assert output.get("name") != "stderr"
        for kind, content in output.get("data", {}).items():
            assert len("".join(content)) < (120_000 if kind == "image/png" else 3_000)


def shows(cell: Any) -> bool:
    """Whether a cell ends in what puts something out."""
    return isinstance(ast.parse("".join(cell["source"])).body[-1], ast.Expr | ast.For | ast.Try)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_its_page_has_every_cell_and_figure(path: Path, hooks: Any) -> None:
    text, figures = hooks[1].page(path)
    book = json.loads(path.read_text(encoding="utf-8"))
    assert text.startswith("# ")
    assert "This tutorial lets you" in text.split("\n\n")[1]
    assert all("".join(cell["source"]) in text for cell in book["cells"])
    images = [
        "".join(output["data"]["image/png"])
        for cell in code_cells(book)
        for output in cell["outputs"]
        if "image/png" in output.get("data", {})
    ]
    assert [base64.b64encode(image).decode() for image in figures.values()] == [image.strip() for image in images]
    assert re.findall(r"\]\(([\w-]+\.png)\)", text) == list(figures)
    described = re.findall(r"!\[(.*?)\]", text)
    assert all(len(words.split()) > 4 for words in described), "a figure says in words what it shows"


def test_links_to_notebooks_lead_to_their_pages(hooks: Any) -> None:
    found = hooks[1].on_page_markdown("[a](../tutorials/ten-minutes.ipynb) [b](tutorials/x.ipynb) [c](x.ipynb)")
    assert found == "[a](../tutorials/ten-minutes.md) [b](tutorials/x.md) [c](x.ipynb)"


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_it_runs_and_its_page_is_not_stale(path: Path, hooks: Any, tmp_path: Path) -> None:
    import nbformat

    kept = [shown(cell) for cell in code_cells(nbformat.read(path, as_version=4))]
    found = hooks[0].small(hooks[0].executed(path, tmp_path), tmp_path)
    assert [shown(cell) for cell in code_cells(found)] == kept, f"run python docs/hooks/execute.py {path}"
