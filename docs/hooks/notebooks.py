"""A hook of mkdocs: each executed notebook of docs/tutorials becomes a page, with the outputs that it holds.

Links in other pages name the notebook, as they are read in the checkout; in the site they lead to its page.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

LINK = re.compile(r"\]\(((?:\.\./)?tutorials/[\w-]+)\.ipynb\)")
STYLE = re.compile(r"<style.*?</style>|<script.*?</script>", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of each notebook, and its figures, to the site."""
    for file in [file for file in files if file.src_uri.startswith("tutorials/") and file.src_uri.endswith(".ipynb")]:
        text, figures = page(Path(str(file.abs_src_path)))
        files.append(File.generated(config, file.src_uri.replace(".ipynb", ".md"), content=text))
        for name, image in figures.items():
            files.append(File.generated(config, f"tutorials/{name}", content=image))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to notebooks lead to their pages."""
    return LINK.sub(r"](\1.md)", markdown)


def page(notebook: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its figures by file name."""
    figures: dict[str, bytes] = {}
    blocks: list[str] = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            blocks.append(source)
            continue
        blocks.append(f"```python\n{source}\n```")
        for kind, content in outputs(cell):
            if kind == "image/png":
                name = f"{notebook.stem}-{len(figures) + 1}.png"
                figures[name] = base64.b64decode(content)
                blocks.append(f"![{described(cell)}]({name}){{ .output }}")
            elif kind == "text/html":
                blocks.append(f'<div class="output">\n{STYLE.sub("", content).strip()}\n</div>')
            else:
                blocks.append(f"```{{ .text .output .no-copy }}\n{content.rstrip()}\n```")
    told = f"[This page as a notebook]({notebook.name}){{ download }}"
    head, *rest = blocks
    return "\n\n".join([head, told, *rest]) + "\n", figures


def outputs(cell: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The kind and content of each output of a cell, in the form that shows most."""
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            yield "text/plain", "".join(output["text"])
            continue
        data = output["data"]
        kind = next(kind for kind in ("image/png", "text/html", "text/plain") if kind in data)
        yield kind, "".join(data[kind])


def described(cell: dict[str, Any]) -> str:
    """What a figure shows: the cell's own words for who cannot see it, else its code."""
    return str(cell["metadata"].get("figure", "".join(cell["source"]).splitlines()[-1])).translate({91: 40, 93: 41})
