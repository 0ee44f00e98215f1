"""A matplotlib figure that belongs to no window and shows itself in a notebook."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


class Sheet(Figure):
    """As matplotlib's, made without pyplot: nothing of it is kept anywhere else, and no back end is chosen."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        FigureCanvasAgg(self)

    def write(self, folder: Path, name: str) -> list[Path]:
        """Write NAME.png, NAME.svg and NAME.pdf, whose bytes do not depend on the day; the files."""
        files = [folder / f"{name}.{kind}" for kind in ("png", "svg", "pdf")]
        for file, day in zip(files, (None, "Date", "CreationDate"), strict=True):
            self.savefig(file, metadata={day: None} if day else None)
        return files

    def _repr_png_(self) -> bytes:
        image = io.BytesIO()
        self.savefig(image, format="png")
        return image.getvalue()
