"""What the generated pages share: tables, and what a class's docstring says of it in a line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

NAME = r"[A-Z][\w-]+"
YEAR = r"((?:19|20)\d\d)(?![\d.]\d)"
AUTHORS = re.compile(rf"({NAME})((?:, {NAME})*) (et al\.|and [A-Z]\w+),? [^;]*?{YEAR}")
AUTHOR = re.compile(rf"\(({NAME}), [^;()]*?{YEAR}")  # one alone is told from other words by the bracket before it
MARKUP = re.compile(r"(`[^`|]*`)|[|<]")  # what stands in backticks is shown as it is
SENTENCE = re.compile(r"(?<=[^. ])\. ")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown, whatever the cells hold."""
    lines = [header, ["---"] * len(header), *rows]
    cells = [[MARKUP.sub(_plain, cell) for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _plain(found: re.Match[str]) -> str:
    return found[1] or {"|": "\\|", "<": "&lt;"}[found[0]]


def paper(cls: type) -> str:
    """The first paper that a class's docstring names, else those of its bases: authors and year.

    >>> class Net:
    ...     "LeCun, Bottou, Bengio and Haffner, Proceedings of the IEEE, 1998."
    >>> paper(Net)
    'LeCun et al. 1998'
    """
    for base in cls.__mro__:
        text = " ".join((base.__dict__.get("__doc__") or "").split())
        if found := AUTHORS.search(text):
            first, more, others, year = found.groups()
            return f"{first} {'et al.' if more else others} {year}"
        if found := AUTHOR.search(text):
            return " ".join(found.groups())
    return ""


def summary(cls: type) -> str:
    """The first paragraph of a class's docstring, in whole sentences.

    >>> class Net:
    ...     '''Layers in a row. With x the input
    ...
    ...         y = f(x)
    ...     '''
    >>> summary(Net)
    'Layers in a row.'
    """
    text = (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")
    if text.endswith("."):
        return text
    *whole, begun = SENTENCE.split(text)  # a formula would end the last sentence
    return ". ".join(whole or [begun.partition(":")[0]]) + "."
