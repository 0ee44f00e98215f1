"""Train what a paper's claims need, and answer them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from fedsam.errors import InputError
from fedsam.reproduce.base import Paper, Preset
from fedsam.reproduce.claim import UNANSWERED, Answer, Claim, Open
from fedsam.reproduce.clock import timed
from fedsam.reproduce.continued import Continued
from fedsam.reproduce.results import MissingRun, Results
from fedsam.run import Run
from fedsam.runs.progress import Progress
from fedsam.sweeps.compare import train
from fedsam.sweeps.sweep import Job, finished, plan


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Args:
        bibkey, preset: what was reproduced.
        claims: in the paper's order, with their numbers or why there are none.
        results: the runs.
        failures: what went wrong, a line each.
        out: the directory.
    """

    bibkey: str
    preset: Preset
    claims: list[Answer | Open]
    results: Results
    failures: list[str]
    out: Path

    @property
    def answers(self) -> list[Answer]:
        """The claims with numbers."""
        return [found for found in self.claims if isinstance(found, Answer)]

    @property
    def open(self) -> list[Open]:
        """The others."""
        return [found for found in self.claims if isinstance(found, Open)]


def choose(runs: Mapping[str, Run], only: str | None) -> dict[str, Run]:
    """The runs whose names match a pattern, and those whose models they begin with.

    Raises:
        InputError: there are none.
    """
    if only is None:
        return dict(runs)
    wanted = {name for name in runs if fnmatchcase(name, only)}
    if not wanted:
        some = ", ".join(list(runs)[:5])
        raise InputError("--only", only, f"matches none of the {len(runs)} runs, such as {some}")
    while more := {before for name in wanted if (before := begins_with(runs[name]))} - wanted:
        wanted |= more
    return {name: run for name, run in runs.items() if name in wanted}


def begins_with(run: Run) -> str | None:
    """What a run names as the one whose model it begins with, if it does."""
    return run.model.of if isinstance(run.model, Continued) else None


def jobs_of(runs: Mapping[str, Run], seeds: int, out: Path) -> list[list[Job]]:
    """Every run with every seed, in stages: those of a stage begin with models of the stages before it.

    Args:
        runs: by name; one that begins with the model of another names it.
        out: the directory that holds all run directories.
    """
    jobs = {(job.setting, job.run.seed): job for job in plan(runs, seeds, out)}
    stages: list[list[Job]] = []
    for (name, seed), job in jobs.items():
        depth, before = 0, begins_with(runs[name])
        run = job.run
        if before is not None:
            run = run.replace(model=Continued(of=str(jobs[before, seed].path)))
        while before is not None:
            depth, before = depth + 1, begins_with(runs[before])
        while len(stages) <= depth:
            stages.append([])
        stages[depth].append(Job(name, run))
    return stages


def carry_out(
    bibkey: str,
    paper: Paper,
    preset: Preset,
    seeds: int,
    out: Path,
    progress: Progress,
    *,
    only: str | None = None,
    stop: threading.Event | None = None,
    workers: int | None = None,
    address: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Train the runs of a preset that are not finished, measure what the claims need, and answer them.

    Started again it does what is missing. A run that fails, also for want of its data, does not stop the others; claims
    that need it stay open. The time it takes is added up in the directory (`fedsam.reproduce.clock`).

    Args:
        bibkey, paper: whose claims.
        seeds: how many, from each run's own `seed` on.
        out: the directory; runs lie in `out`/runs.
        only: pattern of run names (as a shell's): train these alone.
        stop, workers, address: as for `fedsam.sweeps.compare.compare`.
        tell: is called with a line before each measurement.
    """
    runs = paper.runs(preset)
    chosen = choose(runs, only)
    stages = jobs_of(runs, seeds, out / "runs")
    failures: list[str] = []
    with timed(out, starts=1):
        for stage in stages:
            ready = [job for job in stage if job.setting in chosen and _begun(job, failures)]
            failures += train(ready, progress, stop, workers, address, go_on=True) if ready else []
        jobs = [job for stage in stages for job in stage]
        first = next(iter(runs.values())).seed
        results = Results(jobs, range(first, first + seeds), tell)
        claims = [answer(claim, results) for claim in paper.claims(preset)]
    return Outcome(bibkey, preset, claims, results, failures, out)


def _begun(job: Job, failures: list[str]) -> bool:
    """Whether there is the model that a run begins with."""
    before = begins_with(job.run)
    if before is None or (Path(before) / "model.safetensors").exists():
        return True
    if finished(job) is None:
        failures.append(f"{job.label}: the run whose model it begins with is not there")
    return False


def answer(claim: Claim, results: Results) -> Answer | Open:
    """A claim with its numbers, or why there are none; see `fedsam.reproduce.claim.UNANSWERED`."""
    values: dict[int, float] = {}
    for seed in results.seeds:
        try:
            values[seed] = float(claim.value(results, seed))
        except MissingRun as error:
            return Open(claim, str(error), "not run")
        except UNANSWERED as error:
            return Open(claim, f"seed {seed}: {reason(error)}", "undecided")
    return Answer(claim, values)


def reason(error: Exception) -> str:
    """What went wrong, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
