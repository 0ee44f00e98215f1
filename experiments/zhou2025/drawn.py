"""The figures of Zhou et al. 2025, from our runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fedsam.experiments.zhou2025.answers import error, loss
from fedsam.experiments.zhou2025.settings import ADVERSARIAL, EARLY, IMAGES, LATE, PREFIXES, first_steps, percent, plain
from fedsam.reproduce.base import Preset
from fedsam.reproduce.figures import Line, Panel
from fedsam.reproduce.measurements import LambdaMax, LineTo
from fedsam.reproduce.results import Results


def figures(preset: Preset) -> dict[str, Callable[[Results], list[Panel]]]:
    """The paper's figures; those of the second data set have its name."""
    trained = (plain(preset), "at", *(f"sgd-at {percent(share)}" for share in ADVERSARIAL[preset]))
    found: dict[str, Callable[[Results], list[Panel]]] = {}
    for prefix in PREFIXES[preset]:
        found |= {f"{name}-cifar100" if prefix else name: make for name, make in _late(preset, prefix).items()}
    return found | {
        "fig8-adversarial": lambda r: [
            _errors(r, label, field, trained)
            for label, field in (("test error", "test_accuracy"), ("error under attack", "robust_accuracy"))
        ]
    }


def _late(preset: Preset, prefix: str) -> dict[str, Callable[[Results], list[Panel]]]:
    ends = {f"{prefix}sgd": 0.0, f"{prefix}sam": 1.0}
    late = ends | {f"{prefix}sgd-sam {percent(share)}": share for share in LATE[preset]}
    early = ends | {f"{prefix}sam-sgd {percent(share)}": share for share in EARLY[preset]}
    curves = tuple(prefix + name for name in ("sgd", "sam", "sgd-sam 10%"))
    return {
        "fig2-curves": lambda r: [_errors(r, "test error", "test_accuracy", curves)],
        "fig3-late": lambda r: _against(r, late, preset, prefix),
        "fig5-escape": lambda r: _escape(r, preset, prefix),
        "fig6-line": lambda r: _line(r, preset, prefix),
        "fig7-early": lambda r: _against(r, early, preset, prefix),
    }


def _errors(results: Results, label: str, field: str, names: Sequence[str]) -> Panel:
    lines: dict[str, Line] = {}
    for name in names:
        x, rows = results.curve(name, field)
        lines[name] = x, [[1 - value for value in row] for row in rows]
    return Panel("epoch", label, lines)


def _against(results: Results, shares: dict[str, float], preset: Preset, prefix: str) -> list[Panel]:
    names = sorted(shares, key=shares.__getitem__)
    x, sam = [100 * shares[name] for name in names], f"{prefix}sam"
    curvature = LambdaMax(IMAGES[preset])

    def panel(label: str, value: Callable[[str, int], float]) -> Panel:
        rows = [[value(name, seed) for name in names] for seed in results.seeds]
        return Panel("epochs with SAM (%)", label, {"runs": (x, rows)})

    return [
        panel("test loss less that of SAM", lambda name, seed: loss(results, name, seed) - loss(results, sam, seed)),
        panel("test error less that of SAM", lambda name, seed: error(results, name, seed) - error(results, sam, seed)),
        panel("λ1", lambda name, seed: float(results.measure(name, seed, curvature))),
    ]


def _escape(results: Results, preset: Preset, prefix: str) -> list[Panel]:
    found = {
        name: [results.measure(f"{prefix}sgd", seed, first_steps(preset, name)) for seed in results.seeds]
        for name in ("sgd", "sam")
    }
    x = list(range(len(found["sam"][0]["loss"])))

    def lines(field: str) -> dict[str, Line]:
        return {name: (x, [one[field] for one in each]) for name, each in found.items()}

    return [
        Panel("steps after the end of SGD", "training loss", lines("loss"), log=True),
        Panel("steps after the end of SGD", "training accuracy", lines("accuracy"), share=True),
    ]


def _line(results: Results, preset: Preset, prefix: str) -> list[Panel]:
    line = LineTo(f"{prefix}sgd", IMAGES[preset])
    found = {
        name: [results.measure(prefix + name, seed, line) for seed in results.seeds] for name in ("sgd-sam 10%", "sam")
    }
    return [
        Panel(
            "from that run (0) to sgd (1)",
            f"training {field}",
            {name: (each[0]["t"], [one[field] for one in each]) for name, each in found.items()},
            log=field == "loss",
            share=field == "accuracy",
        )
        for field in ("loss", "accuracy")
    ]
