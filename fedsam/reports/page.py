"""The page: sections as one HTML file that loads nothing, or nothing but plotly.js from a folder beside it.

plotly.js (4.8 MB) stands in it once, or once in that folder for all its pages, as plotly's package has no smaller part
that draws surfaces; the rest is some tens of kilobytes for each run. A policy in the page forbids it to load or send
anything else.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from itertools import count, groupby
from typing import Any

from fedsam.reports.figure import Figure
from fedsam.reports.section import Picture, Section, Table

LONG = 24  # letters of a cell that is given more room on a narrow page
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none';"
    " form-action 'none'"
)


def page(title: str, lead: str, notes: Sequence[str], sections: Sequence[Section], library: str = "") -> str:
    """The whole file.

    Args:
        title: of the page; plain text, as all else.
        lead: a sentence below it.
        notes: what a reader has to know before the numbers, such as runs that are left out.
        sections: in the order of the page.
        library: where plotly.js lies, from the page; empty = in the page itself.
    """
    policy = POLICY.replace("'unsafe-inline';", "'unsafe-inline' 'self' file:;", 1) if library else POLICY
    script = f'<script src="{escape(library)}"></script>' if library else f"<script>{plotly()}</script>"
    entries = "\n".join(f'<li><a href="#{s.id}">{escape(s.title)}</a></li>' for s in sections)
    remarks = "\n".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    numbers = count(1)
    body = "\n".join(_section(section, numbers) for section in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{_own("style.css")}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="lead">{escape(lead)}</p>
{remarks}
<nav aria-label="Contents"><ul>
{entries}
</ul></nav>
<noscript><p class="note">The figures are drawn by a script, which is off; the tables are complete.</p></noscript>
</header>
<main>
{body}
</main>
{script}
<script>
{_own("page.js")}</script>
</body>
</html>
"""


def _section(section: Section, numbers: Iterator[int]) -> str:
    parts = []
    for together, blocks in groupby(section.blocks, lambda block: isinstance(block, Figure)):
        if together:
            drawn = [block for block in blocks if isinstance(block, Figure)]
            parts.append('<div class="figures">')
            parts += [_figure(f, wide=len(drawn) % 2 == 1 and at == 0) for at, f in enumerate(drawn)]
            parts.append("</div>")
        else:
            parts += [_other(block, numbers) for block in blocks]
    inside = "\n".join(parts)
    return f'<section id="{section.id}">\n<h2>{escape(section.title)}</h2>\n{inside}\n</section>'


def _other(block: object, numbers: Iterator[int]) -> str:
    if isinstance(block, Table):
        return _table(block, next(numbers))
    if isinstance(block, Picture):
        name, data = escape(block.name), b64encode(block.png).decode()
        return f'<figure>\n<h3>{name}</h3>\n<img alt="{name}" src="data:image/png;base64,{data}">\n</figure>'
    return f"<p>{escape(str(block))}</p>"


def _figure(figure: Figure, wide: bool) -> str:
    kind = ' class="odd"' if wide else ""
    return f"""<figure{kind}>
<h3>{escape(figure.title)}</h3>
<div id="figure-{figure.id}" class="figure" data-source="data-{figure.id}" role="img"
 aria-label="{escape(figure.alternative())}"></div>
<figcaption>{escape(figure.caption)}</figcaption>
<script type="application/json" id="data-{figure.id}">{_json(figure.plotly())}</script>
</figure>"""


def _table(table: Table, number: int) -> str:
    def cell(at: int, text: str, tag: str, scope: str = "") -> str:
        kind = ' class="number"' if at >= table.words else ' class="long"' if len(text) > LONG else ""
        return f"<{tag}{scope}{kind}>{escape(text)}</{tag}>"

    head = "".join(cell(at, text, "th", ' scope="col"') for at, text in enumerate(table.header))
    rows = "\n".join(f"<tr>{''.join(cell(at, text, 'td') for at, text in enumerate(row))}</tr>" for row in table.rows)
    header = f"<thead><tr>{head}</tr></thead>\n" if any(table.header) else ""
    label = f'role="region" aria-labelledby="table-{number}" tabindex="0"'
    drawn = f'<div class="table" {label}>\n<table>\n{header}<tbody>\n{rows}\n</tbody>\n</table>\n</div>'
    said = f'id="table-{number}">{escape(table.caption)}</'
    return (
        f"<details>\n<summary {said}summary>\n{drawn}\n</details>"
        if table.folded
        else f'<p class="caption" {said}p>\n{drawn}'
    )


def _json(value: Any) -> str:
    """JSON that can stand in a script element; what is not finite is null."""
    text = json.dumps(_finite(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _own(name: str) -> str:
    return files("fedsam.reports").joinpath(name).read_text(encoding="utf-8")


def plotly() -> str:
    """plotly.js, as `plotly.offline.get_plotlyjs` returns it, without loading the rest of plotly."""
    return files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
