"""The page of the study of methods: its tables are what its files say, and its settings can be run."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from pathlib import Path
from statistics import median
from typing import Any

from fedsam import Run

RESULTS = Path(__file__).parents[2] / "docs" / "results"
PAGE = (RESULTS / "study-methods.md").read_text(encoding="utf-8")
FILES = RESULTS / "study-methods"
WHOLE = json.loads((FILES / "methods.json").read_text(encoding="utf-8"))
ROWS, OTHER = WHOLE["methods"], ("adamw", "lion", "muon")


def cell(row: dict[str, Any] | None) -> str:
    return "–" if row is None else f"{100 * row['accuracy_mean']:.2f} ± {100 * row['accuracy_std']:.2f}"


def of(server: str, client: str) -> dict[str, Any] | None:
    return next((row for row in ROWS if (row["server"], row["client"]) == (server, client)), None)


def lines(section: str) -> list[list[str]]:
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = [line.strip("|\n").split("|") for line in text.splitlines() if line.startswith("| `")]
    return [[part.strip(" `") for part in line] for line in found]


def test_strategies_are_those_of_the_file() -> None:
    told = lines("Strategies")
    best: dict[str, dict[str, Any]] = {}
    for row in ROWS:
        best.setdefault(row["server"], row)
    assert [line[0] for line in told] == list(best)
    for server, plain, sharp, client, accuracy, rounds, size, sharpness in told:
        row = best[server]
        assert (plain, sharp) == (cell(of(server, "sgd")), cell(of(server, "sam")))
        assert (client, accuracy) == (row["client"], cell(row))
        assert (rounds, size) == (f"{row['rounds_to_target_mean']:.0f}", f"{row['bytes_to_target_mean'] / 1e6:.1f}")
        assert sharpness == f"{row['lambda_max_mean']:.2f}"


def test_clients_are_those_of_the_file() -> None:
    told = lines("Client optimisers")
    assert {line[0] for line in told} == {row["client"] for row in ROWS}
    for client, pairs, points, above, sharpness, _, server, accuracy in told:
        own = [row for row in ROWS if row["client"] == client]
        both = [(row, plain) for row in own if (plain := of(row["server"], "sgd"))]
        assert int(pairs) == len(own)
        assert (server, accuracy) == (own[0]["server"], cell(own[0]))
        assert sharpness == f"{median(row['lambda_max_mean'] / plain['lambda_max_mean'] for row, plain in both):.2f}"
        if client != "sgd":
            gains = [100 * (row["accuracy_mean"] - plain["accuracy_mean"]) for row, plain in both]
            assert (points, above) == (f"{median(gains):+.2f}", f"{sum(gain > 0 for gain in gains)} of {len(gains)}")


def test_files_agree_and_every_setting_can_be_run() -> None:
    with (FILES / "methods.csv").open(encoding="utf-8") as file:
        written = [(line["server"], line["client"], float(line["accuracy_mean"])) for line in csv.DictReader(file)]
    assert written == [(row["server"], row["client"], row["accuracy_mean"]) for row in ROWS]
    settings = tomllib.loads((FILES / "methods.toml").read_text(encoding="utf-8"))
    shared = settings.pop("shared")
    assert list(settings) == [row["method"] for row in ROWS]
    for row in ROWS[::11]:
        keys = Run.from_keys({**shared, **settings[row["method"]]}).keys()
        assert all(keys[key] == value for key, value in row["chosen"].items())


def test_counts_in_the_text() -> None:
    ends, told = WHOLE["ends"], re.findall(r"(\d+) pairs have a meaning; the other (\d+)", PAGE)
    assert told == [(str(len(ROWS)), str(len(WHOLE["skipped"])))]
    rates, momentum = ends["client.lr"], ends["server.momentum"]
    assert f"were {rates['largest']} of {rates['of']}, at the lowest {rates['smallest']}." in PAGE
    assert f"was chosen in {momentum['largest']} of {momentum['of']}:" in PAGE
    assert f"ends at, {100 * WHOLE['target']:.2f} %;" in PAGE
    assert {len(row["seeds"]) for row in ROWS} == {4}
    assert max(row["trials"] for row in ROWS) == 12
    losses = {line[0]: f"{-float(line[2]):.0f}" for line in lines("Client optimisers") if line[0] in OTHER}
    assert "They lose {adamw}, {lion} and {muon} points".format(**losses) in PAGE
