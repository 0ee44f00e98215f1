"""What was run and on what: settings, runs, environment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fedsam.reports.section import Section, Table, in_words
from fedsam.reports.settings import Setting, differing
from fedsam.reports.words import plain


def what_was_run(settings: Sequence[Setting]) -> Section:
    """The keys in which settings differ, then the others, and the runs."""
    section = Section("settings", "What was run")
    keys = [setting.keys for setting in settings]
    unlike = differing(keys)
    if unlike:
        cells = [["setting", *unlike]] + [
            [setting.name, *(plain(own[key]) if key in own else "–" for key in unlike)]
            for setting, own in zip(settings, keys, strict=True)
        ]
        if len(settings) <= 6 and len(unlike) > 5:  # wider than a page
            cells = [list(row) for row in zip(*cells, strict=True)]
        section.blocks.append(Table("The settings, by the keys in which they differ.", cells[0], cells[1:], 99))
    alike = [(key, value) for key, value in keys[0].items() if key not in unlike]
    words = "Every key" if len(settings) == 1 else "The keys that all settings share"
    caption = f"{words} ({len(alike)})."
    section.blocks.append(Table(caption, ["key", "value"], [[key, plain(value)] for key, value in alike], 99, True))
    rows = []
    for setting in settings:
        for seed, run in setting.runs.items():
            of = int(run.keys.get("rounds", 0))
            state = f"{run.recorded:,}" if run.finished else f"{run.recorded:,} of {of:,}, unfinished"
            trained = {client for record in run.metrics for client in record.get("clients") or []}
            known = f"{len(trained):,}" if trained else "–"
            rows.append([setting.name, str(seed), state, known, run.digest[:12] or "–", str(run.path)])
    header = ["setting", "seed", "rounds", "clients seen", "digest", "run directory"]
    caption = (
        f"The runs ({len(rows)}). Clients seen: how many different ones trained in the rounds that are recorded."
        " Digest: of every key that decides the result."
    )
    section.blocks.append(Table(caption, header, rows, 99, True))
    return section


def unfinished(settings: Sequence[Setting]) -> list[str]:
    """A line for each run that has rounds before it."""
    return [
        f"{setting.name}, seed {seed}: unfinished, {run.recorded:,} of {int(run.keys.get('rounds', 0)):,} rounds are"
        " recorded"
        for setting in settings
        for seed, run in setting.runs.items()
        if not run.finished
    ]


def environment(settings: Sequence[Setting]) -> Section | None:
    """Hardware, versions, commit and engine; where runs differ, each value with the runs that have it."""
    runs = [(setting, seed, run) for setting in settings for seed, run in setting.runs.items()]
    flat = [_flat(run.environment) for _, _, run in runs]
    rows = []
    for name in dict.fromkeys(name for spec in flat for name in spec):
        having: dict[str, list[str]] = {}
        for (setting, seed, _), spec in zip(runs, flat, strict=True):
            having.setdefault(spec.get(name, "–"), []).append(f"{setting.name}, seed {seed}")
        if len(having) == 1:
            rows.append([name, next(iter(having))])
        else:
            rows += [[name, f"{value} ({'; '.join(who)})"] for value, who in having.items()]
    if not rows:
        return None
    return Section("environment", "Environment", [Table("What the runs were started on.", ["", ""], rows, 99)])


def _flat(spec: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in spec.items():
        if isinstance(value, dict):
            found |= _flat(value, "" if name in ("hardware", "versions") else f"{in_words(name)}: ")
        elif isinstance(value, list):
            found[prefix + in_words(name)] = ", ".join(map(str, value)) or "none"
        else:
            found[prefix + in_words(name)] = json.dumps(value) if isinstance(value, bool) else str(value)
    return found
