"""What `fedsam study methods` has found, and its figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from fedsam.measure.names import split_of, value_of
from fedsam.measure.score import Score
from fedsam.run import Run
from fedsam.runs.records import Record
from fedsam.runs.shown import Shown

if TYPE_CHECKING:
    from fedsam.reports.sheet import Sheet

LAST = 20
"""Rounds whose mean a value is."""
NUMBERS = "accuracy", "rounds_to_target", "bytes_to_target", "lambda_max", "seconds_per_round"
"""Of a row, each by `_mean` and `_std` over seeds."""


@dataclass(frozen=True)
class Method:
    """A strategy with a client optimiser, searched and trained.

    Args:
        server, client: their names.
        run: what was chosen, with its first seed.
        tried: the values of each trial and how it was judged; None where it failed.
        best: which trial was chosen.
        records: of the final runs, by seed.
    """

    server: str
    client: str
    run: Run
    tried: list[tuple[dict[str, Any], float | None]]
    best: int
    records: dict[int, list[Record]]

    @property
    def name(self) -> str:
        """For a person."""
        return f"{self.server} + {self.client}"

    @property
    def chosen(self) -> dict[str, Any]:
        """The values of its own keys."""
        return self.tried[self.best][0]

    def finals(self) -> dict[int, float]:
        """The mean of the metric over the last rounds, by seed."""
        after = self.run.rounds - LAST
        return {
            seed: fmean(float(value_of(r)) for r in records if r["round"] > after)
            for seed, records in self.records.items()
        }

    def reached(self, target: float) -> dict[int, tuple[int, int]]:
        """The first recorded round that is at least as good as the target, and the bytes of all clients up and down
        until then; of the seeds that came there.
        """
        found = {}
        for seed, records in self.records.items():
            total = 0
            for record in records:
                total += int(record.get("bytes_up") or 0) + int(record.get("bytes_down") or 0)
                if not self.run.learnt.score.is_better(target, value_of(record)):
                    found[seed] = record["round"], total
                    break
        return found

    def sharpness(self) -> list[float]:
        """λ₁ of the Hessian at the end, of each seed for which it was measured."""
        found = [records[-1].get("geometry") for records in self.records.values()]
        return [float(each["eigenvalues"][0]) for each in found if each]

    def seconds(self) -> list[float]:
        """A round's training, of each seed."""
        return [sum(r["seconds"] for r in records) / self.run.rounds for records in self.records.values()]


@dataclass(frozen=True, repr=False)
class Methods(Shown):
    """All methods of a study.

    Args:
        methods: in the order in which they were compared.
        skipped: why which pairs were not.
        failures: of runs, in a line each.
        out: where all lies.
        given: the target that was asked for; None = what the first method ends at.
    """

    methods: list[Method]
    skipped: dict[str, str]
    failures: list[str]
    out: Path
    given: float | None = None

    @property
    def score(self) -> Score:
        """How the metric is told."""
        return self.methods[0].run.learnt.score

    @property
    def target(self) -> float:
        """Of which rounds and bytes are counted."""
        return fmean(self.methods[0].finals().values()) if self.given is None else self.given

    def ranked(self) -> list[Method]:
        """The best first."""
        return sorted(self.methods, key=lambda m: self.score.merit(fmean(m.finals().values())), reverse=True)

    def ends(self) -> dict[str, tuple[int, int, int]]:
        """Of each key with three numbers or more: how many methods chose the smallest that was tried with them, how
        many the largest, and of how many. Where many did, what is best may lie outside.
        """
        found: dict[str, tuple[int, int, int]] = {}
        for method in self.methods:
            for key, chosen in method.chosen.items():
                values = {values[key] for values, _ in method.tried}
                if len(values) > 2 and all(isinstance(value, int | float) for value in values):
                    low, high, of = found.get(key, (0, 0, 0))
                    found[key] = low + (chosen == min(values)), high + (chosen == max(values)), of + 1
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One row a method, the best first, as plain JSON types; each number by mean and sample standard deviation over
        seeds (0 for one). Rounds and bytes are of the seeds that came to the target, `reached` says how many.
        """
        rows = []
        for method in self.ranked():
            reached = list(method.reached(self.target).values())
            each: dict[str, Sequence[float]] = {
                "accuracy": list(method.finals().values()),
                "rounds_to_target": [rounds for rounds, _ in reached],
                "bytes_to_target": [size for _, size in reached],
                "lambda_max": method.sharpness(),
                "seconds_per_round": method.seconds(),
            }
            row: dict[str, Any] = {"method": method.name, "server": method.server, "client": method.client}
            row |= {"chosen": method.chosen, "trials": len(method.tried), "seeds": list(method.records)}
            row |= {"validation": method.tried[method.best][1], "reached": len(reached)}
            for name, values in each.items():
                row[f"{name}_mean"] = fmean(values) if values else None
                row[f"{name}_std"] = (stdev(values) if len(values) > 1 else 0.0) if values else None
            rows.append(row)
        return rows

    def headline(self) -> str:
        """What the numbers are."""
        first = self.methods[0]
        split, seeds = split_of(next(iter(first.records.values()))[-1]), len(first.records)
        whose = f"that of {first.name}" if self.given is None else "as given"
        return (
            f"{split} {self.score.words}, mean of the last {LAST} rounds, {seeds} seed{'s' * (seeds > 1)}; "
            f"target {self.score.text(self.target)}, {whose}"
        )

    def table(self) -> tuple[Sequence[str], list[Sequence[str]]]:
        """A line for each method."""
        heads = ("strategy", "client", "chosen", self.score.label(), "rounds", "MB", "λ₁", "s per round")
        return heads, [
            (
                *(row["server"], row["client"], in_words(row["chosen"])),
                self.score.cell(row["accuracy_mean"], row["accuracy_std"]),
                "–" if row["rounds_to_target_mean"] is None else f"{row['rounds_to_target_mean']:.0f}",
                "–" if row["bytes_to_target_mean"] is None else f"{row['bytes_to_target_mean'] / 1e6:.1f}",
                "–" if row["lambda_max_mean"] is None else f"{row['lambda_max_mean']:.2f}",
                f"{row['seconds_per_round_mean']:.4f}",
            )
            for row in self.rows()
        ]

    def plot(self) -> Sheet:
        """The metric against rounds and bytes to the target, sharpness and time, a point for each method."""
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        from fedsam.reports.palette import COLOURS
        from fedsam.reports.sheet import Sheet

        rows = self.rows()
        figure = Sheet(figsize=(10, 8), dpi=150, layout="constrained")
        clients = list(dict.fromkeys(method.client for method in self.methods))
        for place, (name, (label, factor)) in enumerate(AXES.items()):
            axes = figure.add_subplot(2, 2, place + 1)
            for number, client in enumerate(clients):
                own = [row for row in rows if row["client"] == client and row[f"{name}_mean"] is not None]
                across = [factor * row[f"{name}_mean"] for row in own]
                marker = MARKERS[number // len(COLOURS) % len(MARKERS)]
                up = [self.score.scale * row["accuracy_mean"] for row in own]
                axes.scatter(across, up, color=COLOURS[number % len(COLOURS)], marker=marker, s=26, label=client)
            front = unbeaten(rows, name)
            for row in (*front[:1], *front[1:][-1:]):  # the best, and the cheapest of those that none beats in both
                at = factor * row[f"{name}_mean"], self.score.scale * row["accuracy_mean"]
                axes.annotate(row["method"], at, xytext=(4, 3), textcoords="offset points", fontsize=6.5)
            if name != "rounds_to_target" and any(row[f"{name}_mean"] for row in rows):
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel(label)
            axes.set_ylabel(self.score.label())
            axes.grid(alpha=0.25, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize=8)
        return figure


AXES = {
    "rounds_to_target": ("rounds to the target", 1.0),
    "bytes_to_target": ("MB to the target, all clients, up and down", 1e-6),
    "lambda_max": ("λ₁ of the Hessian at the end", 1.0),
    "seconds_per_round": ("seconds per round", 1.0),
}
"""Label and factor of each quantity."""
MARKERS = "o", "s", "^"


def unbeaten(rows: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Of rows with the best first, those before which none has as little of a quantity."""
    found: list[dict[str, Any]] = []
    for row in rows:
        there = row[f"{name}_mean"]
        if there is not None and (not found or there < found[-1][f"{name}_mean"]):
            found.append(row)
    return found


def in_words(chosen: Mapping[str, Any]) -> str:
    """The chosen values, without their groups where that is clear."""
    return " ".join(f"{key}={value}" for key, value in chosen.items())
