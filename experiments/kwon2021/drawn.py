"""The figures of Kwon et al. 2021, from our runs."""

from __future__ import annotations

from collections.abc import Callable

from fedsam.experiments.kwon2021.answers import error, gaps, rescaled, sharpnesses
from fedsam.experiments.kwon2021.settings import BALLS, FACTORS, NOISE, NORMS, OPTIMISERS, PREFIXES, noisy, text
from fedsam.reproduce.base import Preset
from fedsam.reproduce.figures import Line, Panel
from fedsam.reproduce.results import Results
from fedsam.reproduce.scatter import Scatter


def figures(preset: Preset) -> dict[str, Callable[[Results], list[Panel]]]:
    """What the claims rest on."""
    return {
        "optimisers": lambda r: [
            _curves(r, group) for group in (*NORMS, *(f"{other}batch" for other in PREFIXES[preset][1:]))
        ],
        "noise": lambda r: [_under_noise(r, preset)],
        "rescaled": lambda r: [_rescaled(r, norm, preset) for norm in NORMS],
        "gap": lambda r: [
            _scatter(r, ball, gap, preset) for gap in ("loss", "error") for ball in ("sharpness", "adaptive, all")
        ],
        "text": lambda r: [Panel("epoch", "test perplexity", {n: r.curve(n, "test_perplexity") for n in text(preset)})],
    }


def _curves(results: Results, norm: str) -> Panel:
    lines: dict[str, Line] = {}
    for name in OPTIMISERS:
        x, rows = results.curve(f"{norm} {name}", "test_accuracy")
        lines[name] = x, [[1 - value for value in row] for row in rows]
    return Panel("epoch", f"test error, {norm}", lines, log=True)


def _under_noise(results: Results, preset: Preset) -> Panel:
    shares = NOISE[preset]
    x = [100 * share for share in shares]
    return Panel(
        "wrong labels (%)",
        "test error",
        {
            name: (x, [[error(results, f"{noisy(share)} {name}", seed) for share in shares] for seed in results.seeds])
            for name in OPTIMISERS
        },
    )


def _rescaled(results: Results, norm: str, preset: Preset) -> Panel:
    lines: dict[str, Line] = {}
    for ball in BALLS:
        found = [rescaled(results, norm, ball, seed, preset)["sharpness"] for seed in results.seeds]
        lines[ball] = FACTORS, [[value / one[0] for value in one] for one in found]
    return Panel("factor c", f"sharpness over that at c = 1, {norm}", lines, log=True)


def _scatter(results: Results, ball: str, gap: str, preset: Preset) -> Panel:
    return Scatter(
        f"{ball} (radius {BALLS[ball].rho:g})",
        f"generalisation gap, {gap}",
        {
            f"seed {seed}": (sharpnesses(results, ball, preset, seed), [gaps(results, preset, seed)[gap]])
            for seed in results.seeds
        },
    )
