"""Write the report on runs: an HTML file, and its figures for a paper."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace as replaced
from pathlib import Path

from fedsam.errors import RunError
from fedsam.reports.adaptation import adaptation
from fedsam.reports.clients import division, local_scores
from fedsam.reports.cost import time_section, traffic_section
from fedsam.reports.curvature import curvature
from fedsam.reports.figure import Figure
from fedsam.reports.heterogeneity import heterogeneity
from fedsam.reports.landscape import landscape
from fedsam.reports.learning import learning, results
from fedsam.reports.metrics import metrics_section
from fedsam.reports.overview import environment, unfinished, what_was_run
from fedsam.reports.page import page, plotly
from fedsam.reports.read import gather
from fedsam.reports.section import Maker, Section
from fedsam.reports.settings import Setting, group
from fedsam.reports.turnout import turnout_section
from fedsam.reports.updates import updates_section
from fedsam.storage.files import replace_file
from fedsam.storage.text import encoded

MAKERS: tuple[Maker, ...] = (
    what_was_run,
    heterogeneity,
    results,
    learning,
    metrics_section,
    traffic_section,
    turnout_section,
    local_scores,
    adaptation,
    division,
    updates_section,
    curvature,
    landscape,
    time_section,
    environment,
)
"""The sections in the order of the page."""


def write_report(
    paths: Sequence[Path],
    out: Path,
    *,
    figures: Path | None = None,
    makers: Sequence[Maker] = MAKERS,
    title: str = "",
    beside: bool | None = None,
) -> Path:
    """Write a report on runs.

    Runs that differ only in their seed are one setting. What the run directories do not hold is left out.

    Args:
        paths: run directories, or directories whose children are run directories, such as a comparison.
        out: the HTML file, replaced as a whole. It loads nothing; 4.8 MB of it are plotly.js, but where that is beside.
        figures: a folder for each figure as PNG, SVG and PDF, and captions.md with what they show.
        makers: of the sections, in their order.
        title: of the page, in place of one made from the settings.
        beside: keep plotly.js once for all pages whose folders lie beside each other, in the folder of these; None = if
            that is `runs`, where the commands put what is given no other place.

    Returns:
        `out`.

    Raises:
        InputError: there is no run to report on; see `fedsam.reports.read.gather`.
        RunError: a file cannot be written.
    """
    runs, left_out = gather(paths)
    settings, twice = group(runs)
    sections = [_telling(section) for make in makers if (section := make(settings))]
    notes = [*unfinished(settings), *(f"Left out: {line}" for line in (*left_out, *twice))]
    try:
        place = library_of(out, beside)
        replace(out, page(title or _title(settings), _lead(settings), notes, sections, place))
        if figures is not None:
            _figures(sections, figures)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"cannot write {error.filename or out}: {reason}; make room or fix the path") from error
    return out


def _telling(section: Section) -> Section:
    """Without figures in which there is nothing to be seen; the tables have their numbers."""
    return replaced(section, blocks=[b for b in section.blocks if not isinstance(b, Figure) or b.tells()])


def library_of(out: Path, beside: bool | None = None) -> str:
    """Where plotly.js lies from a page; it is written unless this version is there. Empty = in the page itself.

    Args:
        out: the page.
        beside: as for `write_report`.
    """
    folder = out.parent.parent
    if not (folder.absolute() == Path("runs").absolute() if beside is None else beside):
        return ""
    text = plotly()
    file = folder / f"plotly-{hashlib.sha256(text.encode()).hexdigest()[:8]}.min.js"
    if not file.is_file():
        replace(file, text)
    return f"../{file.name}"


def _title(settings: Sequence[Setting]) -> str:
    data = list(dict.fromkeys(str(setting.keys.get("data.name", "")) for setting in settings))
    if len(settings) == 1:
        return f"{settings[0].name} on {data[0]}" if data[0] else settings[0].name
    return f"{len(settings)} settings on {', '.join(data)}"


def _lead(settings: Sequence[Setting]) -> str:
    words = {
        "model.name": "model {}",
        "data.clients": "{} clients",
        "cohort": "{} of them per round",
        "rounds": "{} rounds",
    }
    said = []
    for key, form in words.items():
        values = {_clients(s) if key == "data.clients" else s.keys.get(key) for s in settings}
        if len(values) == 1 and (value := values.pop()) is not None:
            said.append(form.format(f"{value:,}" if isinstance(value, int) else value))
    counts = sorted({len(setting.runs) for setting in settings})
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    each = " for each setting" if len(settings) > 1 else ""
    said.append(f"{many} seed{'s' * (counts[-1] > 1)}{each}")
    text = ", ".join(said)
    return f"{text[:1].upper()}{text[1:]}."


def _clients(setting: Setting) -> object:
    """How many there are, which a partition by users makes of the data."""
    first = next(iter(setting.runs.values()))
    return (first.partition or {}).get("clients", setting.keys.get("data.clients"))


def replace(path: Path, text: str) -> None:
    """Write a text file, and its folder if there is none, to the side and rename it: others may do so at the same
    moment.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, encoded(text))


def _figures(sections: Sequence[Section], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    captions = []
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                block.save(folder)
                captions.append(f"**{block.id}** {block.title}. {block.caption}\n")
    replace(folder / "captions.md", "\n".join(captions))
