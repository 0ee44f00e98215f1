"""Progress in a notebook: one place in the cell that is kept up to date, without any widget."""

from __future__ import annotations

import sys
import time
from html import escape
from typing import Any


def in_notebook() -> bool:
    """Whether this is the process of a notebook, whose cells show what is displayed."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


class Cell:
    """Progress in the cell that is being run: a bar, and lines above it.

    Args:
        quiet: whether to show nothing.
    """

    live = True
    EVERY = 0.25  # seconds between two changes of what is shown

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.lines: list[str] = []
        self.state: dict[str, Any] = {"total": None, "completed": 0, "description": "", "note": ""}
        self.handle: Any = None
        self.begun = self.told = 0.0
        self.first = 0

    def start(self) -> None:
        """Nothing is shown before there is something to show."""

    def print(self, text: str) -> None:
        """A line above the bar."""
        self.lines.append(text)
        self._show()

    def update(self, **state: Any) -> None:
        """Take note of how far it is, and show it if that was not just done."""
        self.state |= state
        if not self.begun:
            self.begun, self.first = time.monotonic(), self.state["completed"]
        if time.monotonic() - self.told >= self.EVERY:
            self._show()

    def stop(self) -> None:
        """Show how far it came."""
        if self.handle is not None:
            self._show()

    def text(self) -> str:
        """How far it is, in words."""
        done, total = self.state["completed"], self.state["total"]
        if total is None:
            return ""
        words = [f"{self.state['description']} {done} of {total}".strip()]
        seconds, since = time.monotonic() - self.begun, done - self.first
        if since > 0 and seconds > 0:
            words.append(f"{since / seconds:.3g} rounds/s")
            words += [f"{(total - done) * seconds / since:.0f} s left"] if done < total else []
        return ", ".join([*words, *([self.state["note"]] if self.state["note"] else [])])

    def _show(self) -> None:
        if self.quiet:
            return
        from IPython.core.display_functions import display

        self.told = time.monotonic()
        text, total = self.text(), self.state["total"]
        bar = f'<progress value="{self.state["completed"]}" max="{total}"></progress> ' if total else ""
        lines = [*self.lines, *([text] if text else [])]
        html = "<br>".join([*map(escape, self.lines), *([bar + escape(text)] if text else [])])
        shown = {"text/plain": "\n".join(lines), "text/html": f"<div>{html}</div>"}
        if self.handle is None:
            show: Any = display
            self.handle = show(shown, raw=True, display_id=True)
        else:
            self.handle.update(shown, raw=True)
