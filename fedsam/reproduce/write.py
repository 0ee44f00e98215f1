"""What `fedsam reproduce` leaves behind: claims.json, claims.csv, claims.md, tables.md, figures and the report."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from typing import Any

from fedsam.record import RunDirectory, on_disk, replace_file
from fedsam.reproduce.base import Answer, MissingRun, Paper
from fedsam.reproduce.beside import as_markdown as tables_beside
from fedsam.reproduce.carry_out import Outcome
from fedsam.reproduce.figures import save

FIELDS = ("claim", "place", "published", "measured", "mean", "interval", "side", "limit", "holds", "seeds", "values")


def write(outcome: Outcome, paper: Paper, tell: Callable[[str], None] = lambda line: None) -> None:
    """Write all of it into the outcome's directory; figures that lack a run are left out."""
    out, found = outcome.out, rows(outcome)
    out.mkdir(parents=True, exist_ok=True)
    content = {"paper": outcome.bibkey, "preset": outcome.preset, "claims": found, "wall_seconds": seconds(outcome)}
    for name, text in (
        ("claims.json", json.dumps(content, indent=2, allow_nan=False) + "\n"),
        ("claims.csv", as_csv(found)),
        ("claims.md", as_markdown(outcome)),
        ("runs.csv", runs_as_csv(outcome)),
    ):
        with on_disk(out / name):
            replace_file(out / name, text.encode())
    for name, panels in paper.figures(outcome.preset).items():
        try:
            save(panels(outcome.results), out / "figures" / name)
        except MissingRun as error:
            tell(f"figure {name} is left out: there is no run {error}")
    beside = tables_beside(paper, outcome.results, outcome.preset, tell)
    if beside:
        with on_disk(out / "tables.md"):
            replace_file(out / "tables.md", beside.encode())
    if outcome.results.jobs:
        from fedsam.report.write import write_report

        write_report([out / "runs"], out / "report.html")


def rows(outcome: Outcome) -> list[dict[str, Any]]:
    """A row for each claim, as plain JSON types; an open one has no numbers."""
    answered = [_row(answer) for answer in outcome.answers]
    left = [_row(Answer(claim, {})) | {"holds": "not run", "missing": name} for claim, name in outcome.open]
    return answered + left


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
    fields = ("round", "test_accuracy", "test_loss", "train_loss", "robust_accuracy")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "seed", *fields])
    for name, seed in outcome.results.jobs:
        last = outcome.results.records(name, seed)[-1]
        writer.writerow([name, seed, *(last.get(field) for field in fields)])
    return text.getvalue()


def as_markdown(outcome: Outcome) -> str:
    """The table of claims, and below it on what and how long was computed."""
    lines = ["| claim | published | measured | ours | holds |", "|---|---|---|---|---|"]
    for row in rows(outcome):
        where = f"{row['published']} ({row['place']})"
        wanted = f"{row['measured']}; {row['side']} {row['limit']:g}"
        cells = row["claim"], where, wanted, number(row), row["holds"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, "", _how(outcome)]) + "\n"


def number(row: dict[str, Any]) -> str:
    """Mean and 95 % interval of a row."""
    if row["mean"] is None:
        return "-"
    return f"{row['mean']:.3g}" + ("" if row["interval"] is None else f" ± {row['interval']:.2g}")


def seconds(outcome: Outcome) -> float:
    """Wall clock of the rounds and evaluations of all runs, added up; measurements after training apart."""
    records = [record for name, seed in outcome.results.jobs for record in outcome.results.records(name, seed)]
    return sum(float(record["seconds"]) + float(record.get("eval_seconds", 0.0)) for record in records)


def _how(outcome: Outcome) -> str:
    jobs, seeds = outcome.results.jobs, outcome.results.seeds
    told = f"Preset {outcome.preset}, seeds {', '.join(map(str, seeds))}; ours: mean and 95 % interval over seeds."
    if not jobs:
        return told
    about = [RunDirectory.open(job.path)[0].environment() for job in jobs.values()]
    on = "; ".join(sorted(set(map(machine, about))))
    return f"{told} {len(jobs)} runs, {seconds(outcome) / 60:.1f} minutes of training; {on}."


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
