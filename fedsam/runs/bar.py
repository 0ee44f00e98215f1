"""Progress on a terminal: a bar that is kept up to date. Apart, as rich takes a tenth of a second to import."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g} rounds/s")


class Bar:
    """A line with a bar, the speed and the time left, and lines above it."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        self.console = Console(stderr=True)
        self.live = self.console.is_terminal and not self.console.is_dumb_terminal
        self.bar = Progress(*columns, console=self.console)
        self.task = self.bar.add_task("", total=None, note="")

    def start(self) -> None:
        """Show it."""
        self.bar.start()

    def print(self, text: str) -> None:
        """A line above the bar."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def update(self, **state: Any) -> None:
        """How far it is: total, completed, description, note."""
        self.bar.update(self.task, **state)

    def stop(self) -> None:
        """Leave it as it is."""
        self.bar.stop()
