"""The body of `fedsam tune`, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fedsam.runs.progress import Progress, graceful, show_facts
from fedsam.tune.result import Tuned
from fedsam.tune.tune import Settings, tune


def run(keys: dict[str, Any], out: Path | None, address: str | None, quiet: bool, as_json: bool, **asked: Any) -> None:
    """Tune, and print the result.

    Args:
        keys: as given; `out` among them stands for `out`.
        asked: further fields of `Settings`.
    """
    given = keys.pop("out", None)
    settings = Settings(keys, **asked)
    with graceful() as stop, Progress(quiet) as progress:
        tuned = tune(settings, out or (Path(given) if given else None), progress, stop, address)
    if as_json:
        print(json.dumps(tuned.summary()))
    else:
        show(tuned)


def show(tuned: Tuned) -> None:
    """The result, for a person."""
    found, accuracies = tuned.summary(), list(tuned.accuracies.values())
    spread = f" ± {np.std(accuracies, ddof=1):.2%}" if len(accuracies) > 1 else ""
    saved = 1 - found["rounds_run"] / found["rounds_without_stopping"]
    states = ", ".join(f"{found[state]} {state}" for state in ("done", "stopped", "failed"))
    show_facts(
        {
            "best settings": " ".join(f"{key}={value}" for key, value in tuned.best.values.items()),
            "validation accuracy": f"{found['validation_accuracy']:.2%} (trial {found['trial']} of {found['trials']})",
            "test accuracy": f"{np.mean(accuracies):.2%}{spread} (trained anew with {len(accuracies)} seeds)",
            "trials": f"{states}; early stopping saved {saved:.0%} of the rounds",
            "as a file": f"fedsam run {tuned.out / 'best.toml'}",
            "all trials": str(tuned.out / "trials.csv"),
            "report": str(tuned.out / "report.html"),
        }
    )
