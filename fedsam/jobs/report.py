"""`fedsam.report`: what run directories hold, as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsam.reports.curves import curves
from fedsam.reports.read import gather
from fedsam.reports.settings import group
from fedsam.reports.write import write_report
from fedsam.runs.shown import Shown

if TYPE_CHECKING:
    from fedsam.reports.sheet import Sheet


@dataclass(frozen=True, repr=False)
class Page(Shown):
    """A report that was written.

    Args:
        path: the file, to be opened in a browser.
        run_dirs: what it is about.
    """

    path: Path
    run_dirs: tuple[Path, ...]

    def __fspath__(self) -> str:
        return str(self.path)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each recorded round of each run: setting, seed, and what was recorded."""
        settings = group(gather(self.run_dirs)[0])[0]
        return [
            {"setting": setting.name, "seed": seed, **record}
            for setting in settings
            for seed, run in setting.runs.items()
            for record in run.metrics
        ]

    def headline(self) -> str:
        """Where it is."""
        return f"report: {self.path}"

    def plot(self) -> Sheet:
        """The headline metric against rounds, a line for each setting."""
        settings = group(gather(self.run_dirs)[0])[0]
        metrics = {each.name: {seed: run.metrics for seed, run in each.runs.items()} for each in settings}
        keys = settings[0].keys
        about = f"{keys.get('data.name')}, {keys.get('data.clients')} clients, {keys.get('cohort')} per round"
        return curves(metrics, settings[0].scores[0], about)


def report(
    run_dirs: Path | str | Sequence[Path | str], out: Path | str | None = None, figures: Path | str | None = None
) -> Page:
    """Write what run directories hold as one HTML file to open in a browser.

    Args:
        run_dirs: run directories, or folders of some, such as a comparison's.
        out: the file; None = report.html in the first one.
        figures: a folder for the figures as PNG, SVG and PDF.

    Raises:
        InputError: there is no run to report on.
        RunError: a file cannot be written.
    """
    paths = [Path(run_dirs)] if isinstance(run_dirs, str | Path) else [Path(each) for each in run_dirs]
    page = paths[0] / "report.html" if out is None else Path(out)
    return Page(write_report(paths, page, figures=None if figures is None else Path(figures)), tuple(paths))
