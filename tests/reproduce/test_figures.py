"""How the panels of a reproduction are drawn."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from fedsam.reproduce.figures import Panel


def drawn(panel: Panel) -> tuple[float, float]:
    """The top of the vertical axis, and of the bands."""
    axes = Figure().subplots()
    panel.draw(axes)
    (band,) = axes.collections
    return axes.get_ylim()[1], float(band.get_paths()[0].vertices[:, 1].max())


@pytest.mark.parametrize("seeds", [[[0.9, 1.0], [0.7, 1.0]], [[0.99, 0.9], [1.0, 1.0]]])
def test_accuracies_end_at_one(seeds: list[list[float]]) -> None:
    top, band = drawn(Panel("epoch", "test accuracy", {"sam": ([1, 2], seeds)}, share=True))
    assert band <= 1
    assert 1 <= top < 1.03


def test_losses_do_not() -> None:
    top, band = drawn(Panel("epoch", "test loss", {"sam": ([1, 2], [[0.9, 0.9], [1.0, 1.0]])}))
    assert band > 1
    assert top > band
