"""Runs of a paper at toy size, and a paper of a few tiny runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fedsam import Run
from fedsam.reproduce.carry_out import Outcome, carry_out
from fedsam.reproduce.claim import Claim
from fedsam.reproduce.continued import Continued
from fedsam.reproduce.figures import Panel
from fedsam.reproduce.measurements import LineTo, barrier
from fedsam.reproduce.results import Results
from fedsam.reproduce.write import write
from fedsam.runs.progress import Progress

TINY: dict[str, Any] = {"data.clients": 1, "data.partition": "iid", "data.samples_per_client": 60, "cohort": 1}
TINY |= {"rounds": 2, "evaluate_every": 1, "client.epochs": 1, "engine.name": "loop", "engine.threads": 1}
LINE = LineTo("plain", images=60, points=5, margin=0.0)


def runs(preset: str) -> dict[str, Run]:
    plain = Run.from_keys(TINY)
    return {
        "plain": plain,
        "then": plain.replace(model=Continued(of="plain")),
        "fast": Run.from_keys(TINY | {"client.lr": 0.3}),
    }


def claims(preset: str) -> list[Claim]:
    return [
        Claim("it learns", "Table 1", "test loss", lambda r, s: r.last("plain", s, "test_loss"), "below", 100.0, "0.5"),
        Claim("never", "Table 2", "the same", lambda r, s: r.last("fast", s, "test_loss"), "above", 100.0),
        Claim("valley", "Figure 1", "barrier", lambda r, s: barrier(r.measure("then", s, LINE)), "below", 100.0),
    ]


def figures(preset: str) -> dict[str, Callable[[Results], list[Panel]]]:
    return {
        name: lambda r, name=name: [Panel("round", "test loss", {name: r.curve(name, "test_loss")})]  # type: ignore[misc]
        for name in ("plain", "fast")
    }


PAPER: Any = SimpleNamespace(TITLE="t", SEEDS={"cpu": 2}, runs=runs, claims=claims, figures=figures)


def reproduced(out: Path, paper: Any = PAPER, **how: Any) -> Outcome:
    outcome = carry_out("tiny2000", paper, "cpu", 2, out, Progress(quiet=True), **how)
    write(outcome, paper)
    return outcome


def toy(run: Run, **others: Any) -> Run:
    """The run for a step of each of two clients, on two images of its own, with all else as it is; only shorter, since
    deep networks with BatchNorm do not bear the published step on two images.
    """
    keys = {key: value for key, value in run.keys().items() if not key.startswith("engine.")}
    local = {"data.samples_per_client": 2, "client.batch_size": 2, "client.epochs": 1, "rounds": 1, "client.lr": 1e-6}
    local |= {"geometry.images": 4, "engine.threads": 1, "cohort": min(2, run.cohort)}
    local |= {"average.cycle": 1} if "average.cycle" in keys else {}
    return Run.from_keys(keys | local | others)
