"""What `fedsam tune` prints."""

from __future__ import annotations

from fedsam.runs.progress import show_facts
from fedsam.tuning.result import Tuned


def show(tuned: Tuned) -> None:
    """The result, for a person."""
    found, score = tuned.summary(), tuned.score
    best = f"{score.text(tuned.best.came.value)} (trial {found['trial']} of {found['trials']})"
    saved = 1 - found["rounds_run"] / found["rounds_without_stopping"]
    states = ", ".join(f"{found[state]} {state}" for state in ("done", "stopped", "failed"))
    show_facts(
        {
            "best settings": tuned.settings,
            f"validation {score.words}": best,
            f"test {score.words}": f"{tuned.test} (trained anew with {len(tuned.tested)} seeds)",
            "trials": f"{states}; early stopping saved {saved:.0%} of the rounds",
            "as a file": f"fedsam run {tuned.out / 'best.toml'}",
            "all trials": str(tuned.out / "trials.csv"),
            "report": str(tuned.out / "report.html"),
        }
    )
