"""`python docs/hooks/execute.py [NOTEBOOK...]` executes the tutorials and writes their outputs anew."""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat
from PIL import Image

TUTORIALS = Path(__file__).parents[1] / "tutorials"
COLOURS = 64  # of a figure, which takes a quarter of its bytes then


def executed(notebook: Path, folder: Path) -> Any:
    """A notebook with the outputs of its cells, executed in a folder."""
    book = nbformat.read(notebook, as_version=4)
    place = {"metadata": {"path": str(folder)}}
    client = nbclient.NotebookClient(book, timeout=None, startup_timeout=600, resources=place, record_timing=False)
    return client.execute()


def small(book: Any, folder: Path) -> Any:
    """The notebook as it is kept: figures in few colours, no progress, nothing that tells of the machine."""
    book.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for number, cell in enumerate(book.cells, 1):
        cell.id = f"cell-{number}"
        if cell.cell_type != "code":
            continue
        kept = [output for output in cell.outputs if output.output_type != "display_data"]
        printed = "".join(output.text for output in kept if output.get("name") == "stdout")  # it comes in pieces
        shown = [nbformat.v4.new_output("stream", name="stdout", text=printed)] if printed else []
        cell.outputs = shown + [output for output in kept if output.output_type != "stream"]
        for output in cell.outputs:
            data = output.get("data", {})
            for holder, kind in [(data, kind) for kind in data if kind.startswith("text/")] + [(output, "text")]:
                if kind in holder:
                    holder[kind] = holder[kind].replace(f"{folder}/", "")
            if "image/png" in data:
                figure = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
                kept = io.BytesIO()
                figure.quantize(COLOURS).save(kept, format="png", optimize=True)
                data["image/png"] = base64.b64encode(kept.getvalue()).decode()
                data.pop("text/plain", None)
    return book


def main() -> None:
    """Execute and write."""
    for notebook in [Path(name) for name in sys.argv[1:]] or sorted(TUTORIALS.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name).resolve()
            nbformat.write(small(executed(notebook, folder), folder), notebook)
        print(f"{notebook.name}: executed")


if __name__ == "__main__":
    main()
