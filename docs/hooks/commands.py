"""A hook of mkdocs: a page with the options of every command, from the commands themselves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGE = "reference/commands.md"
FIRST = """# Commands

This page lets you look up the options of every command; `fedsam COMMAND --help` prints the same.

What describes a run is `key=value`, [every key](keys.md) is one, or a TOML file of them; options begin with dashes.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """It, as Markdown."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from fedsam.cli.app import app

    group: Any = typer.main.get_command(app)
    return "\n".join([FIRST, *(section(f"fedsam {name}", each) for name, each in group.commands.items())])


def section(name: str, command: Any) -> str:
    """A command: what it does, its arguments and options."""
    if inner := getattr(command, "commands", None):
        return "\n".join(section(f"{name} {word}", each) for word, each in inner.items())
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    rows = [f"| {called(each)} | {told(each)} |" for each in shown if each.name != "help"]
    table = ["| | |", "|---|---|", *rows] if rows else []
    what = " ".join((command.help or "").split("\f")[0].split("\n\n")[0].split())
    return "\n".join([f"## {name}", "", what, "", *table, ""])


def called(parameter: Any) -> str:
    """An option by its names, an argument by its place."""
    if parameter.param_type_name == "argument":
        return f"`{(parameter.metavar or parameter.name).upper()}`"
    return " ".join(f"`{word}`" for word in parameter.opts)


def told(parameter: Any) -> str:
    """What it is, and its default."""
    text = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
    default = parameter.default
    plain = isinstance(default, int | float | str) and not isinstance(default, bool) and default != ""
    return f"{text} (default {default})" if plain and "default" not in text else text
