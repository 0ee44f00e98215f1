"""`python docs/hooks/growth.py` draws docs/results/growth.png from docs/results/growth/growth.jsonl, which
`fedsam bench growth --json` wrote.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

RESULTS = Path(__file__).parents[1] / "results"
VARIANT = re.compile(r"(.+): ([\d,]+), ([\d,]+) MiB")
SETTINGS = re.compile(r"(\d+) settings as one")
LINES = {"clients per round": 1, "population": 0, "parameters": 1, "workers of Ray": -1, "settings as one": 1}
"""What grows, and the power of it that the time should follow."""


def points() -> dict[str, list[tuple[int, float]]]:
    """(number, milliseconds) of each curve."""
    found: dict[str, list[tuple[int, float]]] = {name: [] for name in LINES}
    for line in (RESULTS / "growth" / "growth.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if match := VARIANT.fullmatch(row["variant"]):
            name, number = match[1], match[2].replace(",", "")
        else:
            match = SETTINGS.fullmatch(row["variant"])
            assert match is not None
            name, number = "settings as one", match[1]
        found[name].append((int(number), 1e3 * row["seconds_per_round"]))
    return found


def picture() -> Figure:
    """A panel for each curve, with its line dashed."""
    figure = Figure(figsize=(10, 2.4), layout="constrained")
    axes: Any = figure.subplots(1, len(LINES))
    for place, (name, found) in zip(axes, points().items(), strict=True):
        numbers, times = zip(*found, strict=True)
        anchor = -1 if LINES[name] == 1 else 0
        line = [times[anchor] * (number / numbers[anchor]) ** LINES[name] for number in numbers]
        place.plot(numbers, line, "--", color="0.6", linewidth=1)
        place.plot(numbers, times, "o-", color="tab:blue", markersize=3)
        place.set(xlabel=name, xscale="log", yscale="log" if LINES[name] == 1 else "linear")
        if LINES[name] != 1:
            place.set_ylim(bottom=0)
        if len(numbers) < 4:
            place.set_xticks(numbers, [str(number) for number in numbers])
        place.spines[["top", "right"]].set_visible(False)
        place.minorticks_off()
    axes[0].set_ylabel("ms a round")
    axes[4].set_yticks([5, 10, 20, 50], ["5", "10", "20", "50"])
    return figure


if __name__ == "__main__":
    with mpl.rc_context({"font.size": 8}):
        picture().savefig(RESULTS / "growth.png", dpi=150)
