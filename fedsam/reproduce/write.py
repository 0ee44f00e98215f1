"""What `fedsam reproduce` leaves behind: claims.json, claims.csv, claims.md, tables.md, figures and the report."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from fedsam.measure.names import headline_of
from fedsam.reproduce.base import Paper
from fedsam.reproduce.beside import as_markdown as tables_beside
from fedsam.reproduce.carry_out import Outcome, reason
from fedsam.reproduce.claim import UNANSWERED, Answer, Open
from fedsam.reproduce.clock import timed, wall
from fedsam.reproduce.figures import save
from fedsam.runs.directory import RunDirectory
from fedsam.storage.files import on_disk, remove, replace_file
from fedsam.storage.text import encoded

NUMBERS = ("mean", "interval", "side", "limit", "holds", "seeds", "values", "reason")
FIELDS = ("claim", "place", "published", "measured", *NUMBERS)
HEADER = ("claim", "published", "measured", "ours", "seeds", "holds")


def write(outcome: Outcome, paper: Paper, tell: Callable[[str], None] = lambda line: None) -> None:
    """Write all of it into the outcome's directory; figures that lack a run or a number are left out, and named."""
    out, found = outcome.out, rows(outcome)
    out.mkdir(parents=True, exist_ok=True)
    with timed(out):  # figures measure, too
        left_out = draw(outcome, paper, tell)
        beside = tables_beside(paper, outcome.results, outcome.preset, tell)
    spent = wall(out)
    content: dict[str, Any] = {"paper": outcome.bibkey, "preset": outcome.preset, "claims": found}
    content |= {"figures_left_out": left_out, "failed_runs": outcome.failures}
    content |= {"training_seconds": seconds(outcome), "wall_seconds": spent.seconds, "starts": spent.starts}
    for name, text in (
        ("claims.json", json.dumps(content, indent=2, allow_nan=False) + "\n"),
        ("claims.csv", as_csv(found)),
        ("claims.md", as_markdown(outcome, left_out)),
        ("runs.csv", runs_as_csv(outcome)),
        *([("tables.md", beside)] if beside else []),
    ):
        with on_disk(out / name):
            replace_file(out / name, encoded(text))
    if outcome.results.jobs:
        from fedsam.reports.write import MAKERS, write_report
        from fedsam.reproduce.sections import sections

        names = [name for name in paper.figures(outcome.preset) if name not in left_out]
        table = [cells(row) | {"reason": row["reason"]} for row in found]
        makers, title = (*sections(out, names, table), *MAKERS), f"{paper.TITLE}: preset {outcome.preset}"
        write_report([out / "runs"], out / "report.html", makers=makers, title=title)


def draw(outcome: Outcome, paper: Paper, tell: Callable[[str], None]) -> dict[str, str]:
    """Draw the paper's figures; gives those that are left out, each with the reason."""
    left_out: dict[str, str] = {}
    for name, panels in paper.figures(outcome.preset).items():
        try:
            made = panels(outcome.results)
        except UNANSWERED as error:
            left_out[name] = reason(error)
            tell(f"figure {name} is left out: {left_out[name]}")
            remove(outcome.out / "figures", rf"{re.escape(name)}\.(png|csv)")  # of an earlier start
        else:
            save(made, outcome.out / "figures" / name)
    return left_out


def rows(outcome: Outcome) -> list[dict[str, Any]]:
    """A row for each claim, as plain JSON types; an open one has no numbers."""
    return [
        _row(Answer(found.claim, {})) | {"holds": found.holds, "reason": found.why}
        if isinstance(found, Open)
        else _row(found)
        for found in outcome.claims
    ]


def _row(answer: Answer) -> dict[str, Any]:
    claim = answer.claim
    return {
        "claim": claim.text,
        "place": claim.place,
        "published": claim.published,
        "measured": claim.measured,
        "mean": answer.mean,
        "interval": answer.reach,
        "side": claim.side,
        "limit": claim.limit,
        "holds": answer.holds,
        "seeds": list(answer.values),
        "values": [value if math.isfinite(value) else None for value in answer.values.values()],
        "reason": "",
    }


def as_csv(found: list[dict[str, Any]]) -> str:
    """One line a claim; several values of a field are separated by blanks."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in found:
        writer.writerow([" ".join(map(str, row[f])) if isinstance(row[f], list) else row[f] for f in FIELDS])
    return text.getvalue()


def runs_as_csv(outcome: Outcome) -> str:
    """One line a finished run: the numbers of its last record."""
    lasts = [(*at, outcome.results.records(*at)[-1]) for at in outcome.results.jobs]
    name = headline_of(lasts[0][-1]) if lasts else "accuracy"
    fields = ("round", f"test_{name}", "test_loss", "train_loss", f"robust_{name}")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "seed", *fields])
    for run, seed, last in lasts:
        writer.writerow([run, seed, *(last.get(field) for field in fields)])
    return text.getvalue()


def as_markdown(outcome: Outcome, left_out: Mapping[str, str]) -> str:
    """The table of claims, below it what has no answer or figure and why, and on what and how long was computed."""
    table = [cells(row) for row in rows(outcome)]
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    lines += ["| " + " | ".join(row[name].replace("|", "\\|") for name in HEADER) + " |" for row in table]
    lacking = [f'No answer to "{found.claim.text}": {found.why}.' for found in outcome.open]
    lacking += [f"Figure {name} is left out: {why}." for name, why in left_out.items()]
    more = ["", *(f"- {line}" for line in lacking)] if lacking else []
    return "\n".join([*lines, *more, "", _how(outcome)]) + "\n"


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """A row as a reader sees it, by `HEADER`."""
    return {
        "claim": row["claim"],
        "published": f"{row['published']} ({row['place']})" if row["place"] else row["published"],
        "measured": f"{row['measured']}; {row['side']} {row['limit']:g}",
        "ours": number(row),
        "seeds": ", ".join(map(str, row["seeds"])) or "-",
        "holds": row["holds"],
    }


def number(row: Mapping[str, Any]) -> str:
    """Mean and 95 % interval of a row."""
    if row["mean"] is None:
        return "-"
    return f"{row['mean']:.3g}" + ("" if row["interval"] is None else f" ± {row['interval']:.2g}")


def seconds(outcome: Outcome) -> float:
    """What the rounds and evaluations of all runs took, added up: with several workers more than the clock on the wall
    showed; measurements after training apart.
    """
    records = [record for name, seed in outcome.results.jobs for record in outcome.results.records(name, seed)]
    return sum(float(record["seconds"]) + float(record.get("eval_seconds", 0.0)) for record in records)


def _how(outcome: Outcome) -> str:
    jobs, seeds = outcome.results.jobs, outcome.results.seeds
    told = f"Preset {outcome.preset}, seeds {', '.join(map(str, seeds))}; ours: mean and 95 % interval over seeds."
    if not jobs:
        return told
    about = [RunDirectory.open(job.path)[0].environment() for job in jobs.values()]
    on = "; ".join(sorted(set(map(machine, about))))
    spent = wall(outcome.out)
    long = (
        f"{seconds(outcome) / 60:.1f} minutes of training; wall time, with measuring: {spent.seconds / 60:.1f} minutes"
    )
    several = f" in {spent.starts} starts" if spent.starts > 1 else ""
    return f"{told} {len(jobs)} runs, {long}{several}; {on}."


def machine(environment: dict[str, Any]) -> str:
    """What a run was computed on, in words."""
    hardware, torch = environment.get("hardware", {}), environment.get("versions", {}).get("torch", "?")
    gpus, cores = hardware.get("gpus") or [], hardware.get("cores", 0)
    place = gpus[0] if gpus else f"{cores} core{'s' * (cores != 1)} of {hardware.get('processor')}"
    return f"{place}, torch {torch}"


def show(outcome: Outcome) -> None:
    """The table of claims, for a person, and where everything is."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{outcome.bibkey}, preset {outcome.preset}", title_justify="left")
    for header in ("claim", "published", "must be", "ours", "holds"):
        table.add_column(header, overflow="fold")
    for row in rows(outcome):
        table.add_row(row["claim"], row["published"], f"{row['side']} {row['limit']:g}", number(row), row["holds"])
    console = Console()
    console.print(table, highlight=False, markup=False)
    console.print("ours: mean and 95 % interval over seeds of what claims.md names", highlight=False)
    for label, name in (
        ("claims", "claims.md"),
        ("tables", "tables.md"),
        ("figures", "figures"),
        ("report", "report.html"),
    ):
        if (outcome.out / name).exists():
            console.print(f"{label}: {outcome.out / name}", highlight=False, soft_wrap=True)
