"""In a notebook: what is shown while a job goes on, and how it is stopped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

SETUP = "import fedsam\nfrom fedsam import Run\nrun = Run(rounds=4, evaluate_every=2, cohort=2, checkpoint_every=0)"
SHOWN = "result = fedsam.simulate(run)"
LAST = "result"
QUIET = "_ = fedsam.simulate(run, quiet=True)"
PLOT = "result.plot()"
STOP = """
import os, signal
class Press(fedsam.Listener):
    def round(self, done):
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)
try:
    fedsam.simulate(run, callbacks=[Press()], quiet=True)
except fedsam.FedsamError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    sources = {"setup": SETUP, "shown": SHOWN, "last": LAST, "quiet": QUIET, "plot": PLOT, "stop": STOP}
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources.values()])
    folder = tmp_path_factory.mktemp("notebook")
    place = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(book, timeout=None, startup_timeout=600, resources=place).execute()
    assert not any(Path(folder).iterdir())
    return {name: cell.outputs for name, cell in zip(sources, book.cells, strict=True)}


def test_progress_is_one_place_that_is_kept_up_to_date(cells: dict[str, list[Any]]) -> None:
    (output,) = cells["shown"]
    assert output.output_type == "display_data"
    text = output.data["text/plain"]
    assert re.fullmatch(
        r"digits-sgd-fedavg-.*: engine \w+ \(.*\)\nrounds 4 of 4, .* rounds/s, test accuracy \d+\.\d\d%", text
    )
    assert '<progress value="4" max="4">' in output.data["text/html"]


def test_a_result_at_the_end_of_a_cell_is_html(cells: dict[str, list[Any]]) -> None:
    (output,) = cells["last"]
    assert output.data["text/html"].startswith("<p>digits-sgd-fedavg-")
    assert output.data["text/plain"].startswith("digits-sgd-fedavg-")


def test_quiet_is_quiet(cells: dict[str, list[Any]]) -> None:
    assert cells["quiet"] == []


def test_a_figure_is_shown(cells: dict[str, list[Any]]) -> None:
    (output,) = cells["plot"]
    assert output.data["image/png"]


def test_an_interrupt_stops_after_the_round(cells: dict[str, list[Any]]) -> None:
    def told(stream: str) -> str:  # which a slow machine hands over in several pieces
        return "".join(output.text for output in cells["stop"] if output.name == stream)

    assert "stopped after round 2 of 4" in told("stdout")
    assert "stopping after this round" in told("stderr")
