"""What a tuning leaves for other programs: all trials as CSV, and the best settings as TOML."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedsam.measure.score import Score
from fedsam.run import Run
from fedsam.storage.files import on_disk, replace_file
from fedsam.storage.text import encoded
from fedsam.tuning.ledger import Trial
from fedsam.tuning.space import Space, Values


def trial_rows(trials: Sequence[Trial], space: Space, score: Score) -> list[dict[str, Any]]:
    """A row a trial: its number, what it tried, and its outcome; metric and loss are those on the validation examples.
    A key that the trial's parts do not have is None.
    """
    keys = [dimension.key for dimension in space.dimensions]
    return [
        {
            "trial": trial.number,
            **{key: trial.values.get(key) for key in keys},
            "rounds": trial.came.round,
            **{name: trial.came.as_json()[name] for name in (score.name, "loss", "state", "seconds", "error")},
        }
        for trial in trials
    ]


def write_trials(trials: Sequence[Trial], space: Space, score: Score, out: Path) -> None:
    """Write trials.csv: `trial_rows`, with nothing where there is None."""
    text = io.StringIO()
    rows = trial_rows(trials, space, score)
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _write(out / "trials.csv", text.getvalue())


def write_best(keys: Values, best: Trial, out: Path) -> None:
    """Write best.toml, which `fedsam run` takes: the keys that were given, with the best trial's values."""
    resolved = Run.from_keys(keys).keys()
    score, value = best.came.score, best.came.value
    said = f"{value:.4f}" if score.share else score.text(value)
    head = f"# Trial {best.number}: {score.words} {said} on the validation examples.\n"
    lines = [f"{_name(key)} = {_toml(resolved[key])}\n" for key in sorted(keys, key=lambda key: ("." in key, key))]
    _write(out / "best.toml", head + "".join(lines))


def _name(key: str) -> str:
    return ".".join(part if part.replace("_", "").isalnum() else json.dumps(part) for part in key.split("."))


def _toml(value: Any) -> str:
    return json.dumps("none" if value is None else value, ensure_ascii=False)


def _write(path: Path, text: str) -> None:
    with on_disk(path):
        replace_file(path, encoded(text))
