"""`fedsam.geometry`: how flat the loss is around a run's model."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsam.errors import InputError
from fedsam.flatness.show import facts
from fedsam.flatness.study import Settings, study
from fedsam.jobs.report import report
from fedsam.measure.score import Score
from fedsam.reports.curvature import curvature
from fedsam.reports.figure import Figure
from fedsam.reports.landscape import landscape
from fedsam.reports.read import gather
from fedsam.reports.settings import group
from fedsam.runs.directory import RunDirectory
from fedsam.runs.result import Result
from fedsam.runs.shown import Shown

if TYPE_CHECKING:
    from fedsam.reports.sheet import Sheet


@dataclass(frozen=True, repr=False)
class Geometry(Shown):
    """What was measured of one run's model.

    Args:
        found: all of it, as in geometry.json.
        score: how the metric is told that the run is judged by.
        run_dir: of the run.
        page: the report.
    """

    found: dict[str, Any]
    score: Score
    run_dir: Path
    page: Path

    def rows(self) -> list[dict[str, Any]]:
        """One row: every single number of the served model, those of weight noise and of balls with their radius."""
        found, whole = self.found, self.found["global"]
        row = {name: value for name, value in whole.items() if isinstance(value, int | float | None)}
        row |= {f"eigenvalue_{n}": value for n, value in enumerate(whole["eigenvalues"], 1)}
        row |= {f"{each['ball']}_sharpness_{each['rho']:g}": each["sharpness"] for each in found.get("sharpness", [])}
        for each in found.get("noise", []):
            row[f"{self.score.name}_{each['kind']}_noise_{each['sigma']:g}"] = each[self.score.name]
        return [{"run": str(self.run_dir), "round": found["round"], **row}]

    def headline(self) -> str:
        """The run, and the largest eigenvalue of its Hessian."""
        first = self.found["global"]["eigenvalues"][:1]
        return f"geometry of {self.run_dir}: λ₁ {first[0]:.4g}" if first else f"geometry of {self.run_dir}"

    def table(self) -> tuple[list[str], list[tuple[str, str]]]:
        """The main numbers, line by line."""
        return ["", ""], list(facts(self.found, self.score, self.run_dir, self.page).items())

    def plot(self, figure: str = "density") -> Sheet:
        """A figure of the report's.

        Args:
            figure: its name, or the beginning of it; the density of the Hessian's eigenvalues.

        Raises:
            InputError: there is no such figure.
        """
        settings = group(gather([self.run_dir])[0])[0]
        sections = [section for section in (curvature(settings), landscape(settings)) if section]
        drawn = [block for section in sections for block in section.blocks if isinstance(block, Figure)]
        for each in drawn:
            if figure in each.id:
                return each.sheet()
        names = ", ".join(each.id for each in drawn) or "none"
        raise InputError("figure", figure, f"is no figure of this run's geometry; there are {names}")


def geometry(
    run_dir: Path | str | Result,
    *,
    images: int = 1000,
    clients: int = 5,
    surface: int = 21,
    bf16: bool = False,
    hours: float = 24.0,
    to: Path | str | None = None,
    quiet: bool | None = None,
) -> Geometry:
    """Measure how flat the loss is around a run's model: Hessian, sharpness, weight noise, loss surfaces.

    Writes geometry.json into the run directory and renews its report.

    Args:
        run_dir: the run directory, or a result that has one.
        images: training images on which the loss is measured.
        clients: that are looked at one by one.
        surface: points along each side of the loss surfaces; 0 = none.
        bf16: whether surfaces are evaluated in bf16, which is quicker; their error is told.
        hours: a part that would take longer is refused.
        to: another run directory: also the line to its model.
        quiet: whether not to say which part is measured; None = say it at a terminal.

    Raises:
        InputError: the directory is no run's, was changed, or holds no model yet.
        RunError: the model is not finite, or the file cannot be written.
    """
    place = run_dir.out if isinstance(run_dir, Result) else Path(run_dir)
    if place is None:
        raise InputError("out", InputError.ABSENT, "the run has no directory; give it one: Run(out=...)")
    settings = Settings(images=images, clients=clients, surface=surface, plane=surface, bf16=bf16, hours=hours)
    silent = not sys.stderr.isatty() if quiet is None else quiet
    found = study(place, settings, (lambda part: None) if silent else _tell, None if to is None else Path(to))
    page = report(place)
    return Geometry(found, RunDirectory.open(place)[1].learnt.score, place, page.path)


def _tell(part: str) -> None:
    print(f"measuring: {part}", file=sys.stderr)
