"""The figures of Caldarola et al. 2022, and its tables as figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from experiments.caldarola2022.answers import accuracy
from experiments.caldarola2022.settings import ALPHAS, ALPHAS_100, ENDS, IMAGES, METHODS, OTHERS, named
from fedsam.reproduce.base import Preset
from fedsam.reproduce.corrupted import CorruptedAccuracy
from fedsam.reproduce.figures import Panel
from fedsam.reproduce.flatness import Contours, Eigenvalues, Surface
from fedsam.reproduce.results import Results


def figures(preset: Preset) -> dict[str, Callable[[Results], list[Panel]]]:
    """The paper's figures, and its tables as figures, of our runs."""
    compared = [named(name, 0) for name in (*METHODS, *OTHERS, "fedgloss")]
    compared += [named(m, 0, name) for m in ENDS for name in ("mixup", "cutout")]
    compared += [f"{name} central" for name in ("sgd", "sam", "asam")]
    own: dict[str, Callable[[Results], list[Panel]]] = {
        "fig1-surfaces": lambda r: _surfaces(r, preset),
        "fig2-eigenvalues": lambda r: _eigenvalues(r, preset),
        "accuracy-alpha": lambda r: [_over(ALPHAS[preset], METHODS, "test accuracy", r, accuracy)],
        "accuracy-methods": lambda r: [_bars(compared, "test accuracy, alpha 0", r, accuracy)],
        "accuracy-clients": _clients,
        "curves": lambda r: [
            Panel(
                "round",
                f"test accuracy, alpha {alpha:g}",
                {m: r.curve(named(m, alpha), "test_accuracy") for m in METHODS},
            )
            for alpha in (0, 100)
        ],
        "corruptions": _corruptions,
    }
    if ALPHAS_100[preset]:
        own["accuracy-alpha-cifar100"] = lambda r: [
            _over(ALPHAS_100[preset], METHODS, "test accuracy", r, accuracy, "cifar100 ")
        ]
    return own


Value = Callable[[Results, str, int], float]


def _over(
    alphas: Sequence[float], methods: Sequence[str], label: str, results: Results, value: Value, before: str = ""
) -> Panel:
    lines = {
        method: (
            range(len(alphas)),
            [[value(results, before + named(method, alpha), seed) for alpha in alphas] for seed in results.seeds],
        )
        for method in methods
    }
    return Panel("alpha", label, lines, labels=tuple(f"{alpha:g}" for alpha in alphas))


def _bars(names: Sequence[str], label: str, results: Results, value: Value) -> Panel:
    rows = [[value(results, name, seed) for name in names] for seed in results.seeds]
    return Panel(
        "", label, {"runs": (range(len(names)), rows)}, labels=tuple(name.replace(" alpha 0", "") for name in names)
    )


def _clients(results: Results) -> list[Panel]:
    lines = {}
    for method in ENDS:
        names = [named(method, 0), named(method, 0, "10 a round"), named(method, 0, "20 a round")]
        lines[method] = (5, 10, 20), [[accuracy(results, name, seed) for name in names] for seed in results.seeds]
    return [Panel("clients per round", "test accuracy, alpha 0", lines)]


def _eigenvalues(results: Results, preset: Preset) -> list[Panel]:
    measure, alphas = Eigenvalues(IMAGES[preset]), ALPHAS[preset]

    def values(r: Results, name: str, seed: int) -> list[float]:
        found: list[float] = r.measure(name, seed, measure)
        return found

    return [
        _over(alphas, METHODS, "λ1", results, lambda r, name, seed: values(r, name, seed)[0]),
        _over(alphas, METHODS, "λ1 / λ5", results, lambda r, n, s: values(r, n, s)[0] / values(r, n, s)[4]),
    ]


def _surfaces(results: Results, preset: Preset) -> list[Panel]:
    measure = Surface(IMAGES[preset])
    found = {m: [results.measure(named(m, 0), seed, measure) for seed in results.seeds] for m in ENDS}
    most = max(max(map(max, surface["loss"])) for surface in found["fedasam+swa"])
    return [Contours.of(f"{method} alpha 0", surfaces, most) for method, surfaces in found.items()]


def _corruptions(results: Results) -> list[Panel]:
    found = {m: [results.measure(named(m, 0), seed, CorruptedAccuracy()) for seed in results.seeds] for m in METHODS}
    kinds = tuple(found["fedavg"][0])
    by_severity = {
        m: ((1, 2, 3, 4, 5), [[sum(one[k][n] for k in kinds) / len(kinds) for n in range(5)] for one in each])
        for m, each in found.items()
    }
    by_kind = {m: (range(len(kinds)), [[sum(one[k]) / 5 for k in kinds] for one in each]) for m, each in found.items()}
    return [
        Panel("severity", "accuracy, mean over corruptions", by_severity),
        Panel("", "accuracy, mean over severities", by_kind, labels=kinds),
    ]
