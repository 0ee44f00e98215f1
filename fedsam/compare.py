"""Runs side by side: the same seeds, so the same partitions and client draws, for every setting."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedsam.console import Progress
from fedsam.errors import Interrupted
from fedsam.record import Record, fresh_path
from fedsam.run import Run
from fedsam.simulation import simulate

LAST = 20  # rounds


@dataclass(frozen=True)
class Comparison:
    """Finished runs: for each setting the recorded rounds of each seed.

    Args:
        runs: the settings, each with its first seed.
        metrics: by setting, then by seed.
        out: where the runs, table and figure are.
        last: the final accuracy of a run is the mean over its recorded rounds among this many last ones.
    """

    runs: dict[str, Run]
    metrics: dict[str, dict[int, list[Record]]]
    out: Path
    last: int = LAST

    def rows(self) -> list[dict[str, Any]]:
        """One row a setting, as plain JSON types; `std` is the sample standard deviation over seeds (0 for one).

        `difference` is the mean over seeds of the accuracy less that of the first setting with the same seed, and
        `interval` how far its 95 % confidence interval reaches to either side: t_{0.975, n−1} s / √n with s the
        standard deviation of the n differences; none for one seed, as for the first setting itself.
        """
        rows: list[dict[str, Any]] = []
        for setting, by_seed in self.metrics.items():
            rounds = self.runs[setting].rounds
            final = [
                float(np.mean([r["test_accuracy"] for r in records if r["round"] > rounds - self.last]))
                for records in by_seed.values()
            ]
            seconds = [sum(r["seconds"] for r in records) / rounds for records in by_seed.values()]
            rows.append(
                {
                    "setting": setting,
                    "seeds": list(by_seed),
                    "test_accuracy": final,
                    "mean": float(np.mean(final)),
                    "std": float(np.std(final, ddof=1)) if len(final) > 1 else 0.0,
                    "seconds_per_round": float(np.mean(seconds)),
                }
            )
            rows[-1] |= _paired(final, rows[0]["test_accuracy"]) if len(rows) > 1 else {}
        return rows


def _paired(final: list[float], first: list[float]) -> dict[str, float | None]:
    both = np.array(list(zip(final, first, strict=False)))  # an interrupted comparison has fewer seeds of the last
    difference = both[:, 0] - both[:, 1]
    number = len(difference)
    if number < 2:
        return {"difference": float(difference.mean()), "interval": None}
    from scipy.special import stdtrit

    reach = stdtrit(number - 1, 0.975) * difference.std(ddof=1) / np.sqrt(number)
    return {"difference": float(difference.mean()), "interval": float(reach)}


def compare(runs: Mapping[str, Run], seeds: int, progress: Progress, stop: threading.Event | None = None) -> Comparison:
    """Run every setting with `seeds` seeds, and write runs, table and learning curves to one directory.

    Args:
        runs: the settings by name; their `out` is the directory of the comparison, none = a new one under runs/.
        seeds: how many, from each run's own `seed` on.
    """
    from fedsam.curves import draw
    from fedsam.report.write import write_report

    first = next(iter(runs.values()))
    out = Path(first.out) if first.out else fresh_path(Path("runs"), f"compare-{first.data.name}")
    progress.plan(sum(run.rounds for run in runs.values()) * seeds)
    metrics: dict[str, dict[int, list[Record]]] = {setting: {} for setting in runs}
    offset = 0
    for number in range(seeds):
        for setting, run in runs.items():
            seed = run.seed + number
            progress.next(f"{setting}, seed {seed}", offset)
            own = run.replace(seed=seed, out=str(out / f"{_file_name(setting)}-seed{seed}"))
            try:
                metrics[setting][seed] = simulate(own, progress, stop).metrics
            except Interrupted as error:
                raise Interrupted(
                    f"{setting}, seed {seed}: {error}; the runs finished before it are in {out}"
                ) from None
            offset += run.rounds
    comparison = Comparison(dict(runs), metrics, out)
    (out / "compare.json").write_text(json.dumps(comparison.rows(), indent=2) + "\n")
    draw(comparison, out / "curves.png")
    write_report([out], out / "report.html")
    return comparison


def show(comparison: Comparison) -> None:
    """The table, for a person, and where the figure is."""
    from rich.console import Console
    from rich.table import Table

    rows = comparison.rows()
    seeds = len(rows[0]["seeds"])
    table = Table(
        title=f"test accuracy, mean of the last {comparison.last} rounds, {seeds} seed{'s' * (seeds > 1)}",
        title_justify="left",
    )
    for header in ("setting", "mean", "std", "less the first", "seconds per round"):
        table.add_column(header, justify="left" if header == "setting" else "right", overflow="fold")
    for row in rows:
        numbers = f"{row['mean']:.2%}", f"{row['std']:.2%}", _less(row), f"{row['seconds_per_round']:.4f}"
        table.add_row(row["setting"], *numbers)
    console = Console()
    console.print(table, highlight=False)
    if any(row.get("interval") is not None for row in rows):
        console.print("less the first: paired over seeds, in percentage points, with its 95 % confidence interval")
    for label, name in (("learning curves", "curves.png"), ("report", "report.html")):
        console.print(f"{label}: {comparison.out / name}", highlight=False, soft_wrap=True)


def _less(row: dict[str, Any]) -> str:
    if "difference" not in row:
        return ""
    reach = "" if row["interval"] is None else f" ± {100 * row['interval']:.2f}"
    return f"{100 * row['difference']:+.2f}{reach}"


def _file_name(setting: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in setting.lower()).strip("-")
