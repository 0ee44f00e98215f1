"""The paper's analyses of Mordido et al. 2024, of our runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fedsam.experiments.mordido2024.answers import accuracies, error, forgotten
from fedsam.experiments.mordido2024.settings import (
    ADAPTED,
    ADAPTED_K,
    ALPHA,
    CROSSED,
    METHODS,
    PREFIXES,
    RADII,
    RHO,
    SIGMAS,
    TASKS,
    K,
    asam,
    lookbehind,
    lookbehind_asam,
    sam,
)
from fedsam.reproduce.base import Preset
from fedsam.reproduce.figures import Line, Panel
from fedsam.reproduce.measurements import NoisyAccuracy, Sharpness, TestAccuracy
from fedsam.reproduce.results import Results

Figures = dict[str, Callable[[Results], list[Panel]]]


def figures(preset: Preset) -> Figures:
    """Those of the second data set have its name."""
    found: Figures = {}
    for prefix in PREFIXES[preset]:
        found |= {f"{name}-cifar100" if prefix else name: make for name, make in _of_set(preset, prefix).items()}
    return found | {
        "tasks": lambda r: [_tasks(r, method) for method in METHODS],
        "forgetting": lambda r: [
            _by_name(r, METHODS, "forgotten accuracy", lambda method, seed: forgotten(r, method, seed), True),
            _by_name(
                r,
                METHODS,
                "mean accuracy over tasks after the last",
                lambda method, seed: sum(accuracies(r, method, seed)) / TASKS,
                True,
            ),
        ],
    }


def _of_set(preset: Preset, prefix: str) -> Figures:
    ours, adapted = lookbehind(preset, prefix=prefix), lookbehind_asam(preset, prefix=prefix)
    plain, scaled = sam(preset, prefix), asam(preset, prefix)
    around = (plain, f"{prefix}multistep k=2", f"{prefix}lookahead k=2", ours, scaled, adapted)
    methods = (f"{prefix}sgd", *around)

    def generalisation(results: Results) -> list[Panel]:
        return [
            _by_name(
                results,
                methods,
                field.replace("_", " "),
                lambda name, seed, field=field: results.last(name, seed, field),  # type: ignore[misc]
                field == "test_accuracy",
            )
            for field in ("test_accuracy", "test_loss")
        ]

    return {
        "generalisation": generalisation,
        "sensitivity": lambda r: [
            _over_rho(r, preset, prefix),
            _over_rho_of_asam(r, preset, prefix),
            _over_k(r, preset, prefix),
            _over_alpha(r, preset, prefix),
        ],
        "sharpness": lambda r: [
            Panel("radius", "rise of the training loss", _measured(r, around, Sharpness(RADII), RADII), log=True)
        ],
        "noise": lambda r: [
            Panel("sigma, relative", "test accuracy", _measured(r, around, NoisyAccuracy(SIGMAS), SIGMAS), share=True)
        ],
    }


def _by_name(
    results: Results, names: Sequence[str], label: str, value: Callable[[str, int], float], share: bool
) -> Panel:
    rows = [[value(name, seed) for name in names] for seed in results.seeds]
    labels = tuple(name.partition(" alpha")[0] for name in names)
    return Panel("", label, {"runs": (range(len(names)), rows)}, labels=labels, share=share)


def _errors(results: Results, x: Sequence[float], names: Sequence[str]) -> Line:
    return x, [[error(results, name, seed) for name in names] for seed in results.seeds]


def _over_rho(results: Results, preset: Preset, prefix: str) -> Panel:
    rho = RHO[preset]
    lines = {"sam": _errors(results, rho, [f"{prefix}sam rho={at:g}" for at in rho])}
    for k in K[preset]:
        names = [lookbehind(preset, k, at, prefix=prefix) for at in rho]
        lines[f"lookbehind k = {k}, adaptive"] = _errors(results, rho, names)
    return Panel("rho", "test error, SAM and Lookbehind around it", lines)


def _over_rho_of_asam(results: Results, preset: Preset, prefix: str) -> Panel:
    rho = ADAPTED[preset]
    lines = {"asam": _errors(results, rho, [f"{prefix}asam rho={at:g}" for at in rho])}
    for k in ADAPTED_K[preset]:
        names = [lookbehind_asam(preset, k, at, prefix) for at in rho]
        lines[f"lookbehind-asam k = {k}, adaptive"] = _errors(results, rho, names)
    return Panel("rho", "test error, ASAM and Lookbehind around it", lines)


def _over_k(results: Results, preset: Preset, prefix: str) -> Panel:
    k = K[preset]
    lines = {name: _errors(results, k, [f"{prefix}{name} k={at}" for at in k]) for name in ("multistep", "lookahead")}
    for alpha in ALPHA[preset]:
        names = [lookbehind(preset, at, None, alpha, prefix) for at in k]
        lines[f"lookbehind alpha = {alpha}"] = _errors(results, k, names)
    return Panel("k", "test error over k", lines)


def _over_alpha(results: Results, preset: Preset, prefix: str) -> Panel:
    lines: dict[str, Line] = {}
    for rho in CROSSED[preset]:
        for k in K[preset]:
            names = [lookbehind(preset, k, rho, alpha, prefix) for alpha in ALPHA[preset]]
            lines[f"k = {k}, rho = {rho:g}"] = _errors(results, range(len(names)), names)
    return Panel("alpha", "test error over alpha", lines, labels=tuple(map(str, ALPHA[preset])))


def _measured(results: Results, names: tuple[str, ...], measure: Any, x: tuple[float, ...]) -> dict[str, Line]:
    return {name: (x, [results.measure(name, seed, measure) for seed in results.seeds]) for name in names}


def _tasks(results: Results, method: str) -> Panel:
    lines: dict[str, Line] = {}
    for task in range(1, TASKS + 1):
        after, on = range(task, TASKS + 1), TestAccuracy(f"{method} task {task}")
        rows = [[results.measure(f"{method} task {at}", seed, on) for at in after] for seed in results.seeds]
        lines[f"on task {task}"] = after, rows
    return Panel("after task", f"test accuracy, {method}", lines, share=True)
