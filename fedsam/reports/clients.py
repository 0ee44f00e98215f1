"""The clients: how the data is divided among them, and how the model serves each."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

from fedsam.measure.score import Score, in_unit
from fedsam.reports.figure import Axis, Figure
from fedsam.reports.label_figure import BARS, MUTED
from fedsam.reports.marks import Bars, Line, Map, Mark, Points
from fedsam.reports.numbers import number, spread
from fedsam.reports.section import Section, Table, axis_of, in_words, loss_of, over, score_of, significant
from fedsam.reports.settings import Setting

FAILURES = 50  # listed
MEASURES = {
    "js_mean": "divergence of labels from the whole, mean (bits)",
    "js_std": "divergence of labels from the whole, std (bits)",
    "emd_mean": "distance of labels from the whole (EMD), mean",
    "emd_std": "distance of labels from the whole (EMD), std",
    "classes_mean": "classes of a client, mean",
    "gini": "Gini coefficient of sizes",
    "clients": "clients",
    "skew_rotation": "rotation of a client's images (degrees)",
    "skew_noise": "noise of a client's images (share of white)",
    "skew_gain": "gain of a client's channels (share)",
    "skew_shift": "shift of a client's channels (share of white)",
}
"""Measures in words; another is shown by its own name."""

SERVED = "the final served model, or of each client's own where there are such,"


def local_scores(settings: Sequence[Setting]) -> Section | None:
    """How well the final model does on each client's own test data, with the worst decile."""
    score, loss = score_of(settings), loss_of(settings)
    by_setting = [(setting, _pooled(setting, score.name)) for setting in settings]
    having = [(setting, pooled) for setting, pooled in by_setting if pooled]
    failed = _failures(settings)
    if not having:
        return Section("local", "Clients", [failed]) if failed else None
    marks: list[Mark] = []
    rows = []
    for setting, pooled in having:
        ordered = sorted((value for value, _ in pooled), key=score.merit)
        worst = fmean(ordered[: math.ceil(len(ordered) / 10)])
        marks.append(_distribution(ordered, setting))
        marks.append(Points([worst], [0.1], f"{setting.name}: worst decile", setting.colour, (), "diamond", quiet=True))
        weights = [weight for _, weight in pooled]
        weighted = sum(v * w for v, w in pooled) / sum(weights) if sum(weights) else None
        numbers = (weighted, median(ordered), worst, ordered[0])
        rows.append([setting.name, f"{len(ordered):,}", over(ordered, score), *map(score.cell, numbers)])
    caption = (
        f"Share of the clients on whose own test data the {score.words} of {SERVED} is at most that;"
        f" {to_the(score)}. Diamonds: the mean of the worst tenth of the clients. Clients of all seeds."
    )
    of_clients = Axis("share of clients", percent=True, ends=(0.0, 1.03))
    columns = ("mean", "by examples", "median", "worst decile", "worst")
    header = ["setting", "clients", *(in_unit(column, score.mark) for column in columns)]
    words = (
        f"{score.title} of {SERVED} on the clients' own test data: mean ± standard deviation over"
        " clients, mean weighted by test examples, median, mean of the worst tenth, the worst client."
    )
    by_client = Figure("clients", f"{score.title} by client", caption, local_axis(score), of_clients, marks)
    section = Section("local", "Clients", [by_client])
    losses = [(setting, _pooled(setting, "loss")) for setting in settings]
    lines = [_distribution([v for v, _ in pooled], setting) for setting, pooled in losses if pooled]
    if lines:
        caption = f"Share of the clients on whose own test data the loss of {SERVED} is at most that."
        section.blocks.append(Figure("client-loss", "Loss by client", caption, local_axis(loss), of_clients, lines))
    section.blocks.append(Table(words, header, rows))
    if failed:
        section.blocks.append(failed)
    return section


def _pooled(setting: Setting, name: str) -> list[tuple[float, float]]:
    """Each client's value and its number of test examples, over all seeds."""
    found = []
    for run in setting.runs.values():
        values = (run.local or {}).get(name) or []
        examples = (run.local or {}).get("examples") or [1] * len(values)
        for value, n in zip(values, examples, strict=False):
            if (known := number(value)) is not None:
                found.append((known, float(n)))
    return found


def local_axis(score: Score) -> Axis:
    """The axis of a metric on the clients' own test data."""
    return axis_of(f"{score.words} on the client's test data", score)


def to_the(score: Score) -> str:
    """Which lines of a distribution over clients are better, in words."""
    return f"lines farther to the {'right' if score.better == 'higher' else 'left'} are better"


def _distribution(values: Sequence[float], setting: Setting) -> Line:
    ordered = sorted(values)
    share = [(place + 1) / len(ordered) for place in range(len(ordered))]
    return Line([ordered[0], *ordered], [0.0, *share], setting.name, setting.colour, dash=setting.dash, step=True)


def _failures(settings: Sequence[Setting]) -> Table | None:
    rows = [
        [setting.name, str(seed), str(failure.get("round")), str(failure.get("client")), str(failure.get("error"))]
        for setting in settings
        for seed, run in setting.runs.items()
        for record in run.metrics
        for failure in record.get("failures") or []
    ]
    if not rows:
        return None
    more = f" The first {FAILURES} are listed." if len(rows) > FAILURES else ""
    caption = f"Clients that failed and were left out of their round ({len(rows):,}).{more}"
    return Table(caption, ["setting", "seed", "round", "client", "error"], rows[:FAILURES], 99)


def division(settings: Sequence[Setting]) -> Section | None:
    """Label distribution of the clients and measures of heterogeneity, for each way of dividing the data."""
    ways: dict[str, list[tuple[Setting, int, dict[str, Any]]]] = {}
    for setting in settings:
        data = json.dumps({k: v for k, v in setting.keys.items() if k.startswith("data.")}, sort_keys=True)
        for seed, run in setting.runs.items():
            if run.partition:
                ways.setdefault(data, []).append((setting, seed, run.partition))
    if not ways:
        return None
    section = Section("division", "Data of the clients")
    rows = []
    for place, parts in enumerate(ways.values(), 1):
        (setting, seed, partition), names = parts[0], list(dict.fromkeys(setting.name for setting, _, _ in parts))
        which = f" of {', '.join(names)}" if len(ways) > 1 else ""
        suffix = f"-{place}" if len(ways) > 1 else ""
        section.blocks.extend(_drawn(partition, suffix, which, seed))
        by_seed = {seed: part.get("measures") or {} for _, seed, part in parts}
        spec: dict[str, list[Any]] = {"clients": [partition.get("clients")], "classes": [partition.get("classes")]}
        spec |= {"examples": [sum(part.get("examples") or []) or None for _, _, part in parts]}
        spec |= {
            name: [m.get(name) for m in by_seed.values()]
            for name in dict.fromkeys(n for m in by_seed.values() for n in m)
        }
        skews = [part.get("skew") or {} for _, _, part in parts]
        for name in skews[0]:
            each = [_flat(skew.get(name) or []) for skew in skews]
            spec |= {f"skew_{name}": each} if any(map(any, each)) else {}
        of = [", ".join(names)] if len(ways) > 1 else []
        rows += [
            [*of, MEASURES.get(name, in_words(name)), shown]
            for name, values in spec.items()
            if (shown := _stated(values))
        ]
    several = any(len({seed for _, seed, _ in parts}) > 1 for parts in ways.values())
    caption = "Size and heterogeneity of the federation" + (
        "; mean ± standard deviation over seeds." if several else "."
    )
    header = [*(["settings"] if len(ways) > 1 else []), "measure", "value"]
    section.blocks.append(Table(caption, header, rows, len(header) - 1))
    return section


def _flat(values: Sequence[Any]) -> list[Any]:
    """Each client's number, or its numbers for each channel, in one list."""
    return [one for value in values for one in (value if isinstance(value, list) else [value])]


def _stated(values: Sequence[Any]) -> str:
    """Numbers of several seeds, or lists of numbers, in words; empty where there is none."""
    if any(isinstance(value, list) for value in values):
        pooled = [
            known for value in values if isinstance(value, list) for v in value if (known := number(v)) is not None
        ]
        return (
            f"{significant(min(pooled))} to {significant(max(pooled))}, mean {significant(fmean(pooled))}"
            if pooled
            else ""
        )
    found = [known for value in values if (known := number(value)) is not None]
    if not found:
        return ""
    return significant(fmean(found)) + (f" ± {significant(spread(found), 2)}" if spread(found) else "")


def _drawn(partition: dict[str, Any], suffix: str, which: str, seed: int) -> list[Figure]:
    counts = [] if partition.get("classes", 1) is None else partition.get("label_counts") or []
    examples, clients = partition.get("examples") or [], partition.get("clients") or len(counts)
    figures = []
    rest = f" The first {len(counts):,} of {clients:,} clients are shown." if len(counts) < clients else ""
    title = "Labels of the clients"
    if counts and len(counts) <= BARS and len(counts[0]) <= len(MUTED):
        base = [0.0] * len(counts)
        marks: list[Mark] = []
        for label in range(len(counts[0])):
            heights = [row[label] for row in counts]
            marks.append(Bars(list(range(len(counts))), heights, f"class {label}", MUTED[label], base=base))
            base = [b + h for b, h in zip(base, heights, strict=True)]
        caption = f"Training examples of each class at each client{which}, seed {seed}.{rest}"
        axes = Axis("client", whole=True), Axis("training examples")
        figures.append(Figure(f"labels{suffix}", title, caption, *axes, marks))
    elif counts:
        shares = [[n / max(sum(row), 1) for n in row] for row in counts]
        shares.sort(key=lambda row: (row.index(max(row)), -max(row)))
        most = max(map(max, shares))
        by_class = [list(column) for column in zip(*shares, strict=True)]
        cells = Map(list(range(len(shares))), list(range(len(by_class))), by_class, "share", "heat", True, most, True)
        caption = (
            f"Share of each class in the training examples of each client{which}, seed {seed}; the clients are ordered"
            f" by their largest class.{rest}"
        )
        axes = Axis("clients, ordered by their largest class", whole=True), Axis("class", whole=True)
        figures.append(Figure(f"labels{suffix}", title, caption, *axes, [cells]))
    if len(examples) > BARS:
        ordered = sorted(examples, reverse=True)
        sizes = Line(list(range(1, len(ordered) + 1)), ordered, "examples", "#0072B2", step=True)
        caption = f"Training examples of the clients{which}, from the largest to the smallest, seed {seed}."
        axes = Axis("clients, ordered by size", whole=True), Axis("training examples")
        figures.append(Figure(f"sizes{suffix}", "Sizes of the clients", caption, *axes, [sizes]))
    return figures
