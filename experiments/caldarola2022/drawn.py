"""The figures of Caldarola et al. 2022, and its tables as figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fedsam.data.images.corruptions import SEVERITIES
from fedsam.experiments.caldarola2022.answers import CORRUPTED, accuracy
from fedsam.experiments.caldarola2022.settings import CENTRAL, CLIENTS, ENDS, IMAGES, METHODS, PARTS, Part
from fedsam.reproduce.base import Preset
from fedsam.reproduce.figures import Panel
from fedsam.reproduce.flatness import Contours, Eigenvalues, Surface, ratio
from fedsam.reproduce.results import Results

Value = Callable[[Results, str, int], float]
Figures = dict[str, Callable[[Results], list[Panel]]]


def figures(preset: Preset) -> Figures:
    """The paper's figures, and its tables as figures, of our runs."""
    own: Figures = {}
    for part in PARTS[preset]:
        after = part.before and f"-{part.before.strip()}"
        own |= {f"{name}{after}": panels for name, panels in _of(part, IMAGES[preset]).items()}
    return own


def _of(part: Part, images: int) -> Figures:
    found: Figures = {
        "fig1-surfaces": lambda r: _surfaces(r, part, images),
        "eigenvalues": lambda r: _eigenvalues(r, part, images),
        "accuracy-alpha": lambda r: [_over(part, "test accuracy", r, accuracy)],
        "curves": lambda r: [
            Panel(
                "round",
                f"test accuracy, alpha {alpha:g}",
                {m: r.curve(part.named(m, alpha), "test_accuracy") for m in METHODS},
                share=True,
            )
            for alpha in dict.fromkeys((part.alphas[0], part.alphas[-1]))
        ],
        "corruptions": lambda r: _corruptions(r, part),
    }
    if part.shown:
        compared = [part.named(m, 0) for m in (*METHODS, *part.others)]
        compared += [part.named(m, 0, augment) for augment in part.augments for m in ENDS]
        compared += [part.central(optimizer) for optimizer in CENTRAL]
        found["accuracy-methods"] = lambda r: [_bars(compared, "test accuracy, alpha 0", r, accuracy)]
    if part.crowded:
        found["accuracy-clients"] = lambda r: _clients(r, part)
    return found


def _over(part: Part, label: str, results: Results, value: Value) -> Panel:
    lines = {
        method: (
            range(len(part.alphas)),
            [[value(results, part.named(method, alpha), seed) for alpha in part.alphas] for seed in results.seeds],
        )
        for method in METHODS
    }
    return Panel("alpha", label, lines, labels=tuple(f"{alpha:g}" for alpha in part.alphas), share=True)


def _bars(names: Sequence[str], label: str, results: Results, value: Value) -> Panel:
    rows = [[value(results, name, seed) for name in names] for seed in results.seeds]
    labels = tuple(name.replace(" alpha 0", "") for name in names)
    return Panel("", label, {"runs": (range(len(names)), rows)}, labels=labels, share=True)


def _clients(results: Results, part: Part) -> list[Panel]:
    lines = {}
    for method in part.few:
        names = [part.named(method, 0), *(part.named(method, 0, f"{n} a round") for n in CLIENTS[1:])]
        lines[method] = CLIENTS, [[accuracy(results, name, seed) for name in names] for seed in results.seeds]
    return [Panel("clients per round", "test accuracy, alpha 0", lines, share=True)]


def _eigenvalues(results: Results, part: Part, images: int) -> list[Panel]:
    measure = Eigenvalues(images)
    return [
        _over(part, "λ1", results, lambda r, name, seed: float(r.measure(name, seed, measure)[0])),
        _over(part, "λ1 / λ5", results, lambda r, name, seed: ratio(r.measure(name, seed, measure))),
    ]


def _surfaces(results: Results, part: Part, images: int) -> list[Panel]:
    measure = Surface(images)
    found = {m: [results.measure(part.named(m, 0), seed, measure) for seed in results.seeds] for m in ENDS}
    most = max(max(map(max, surface["loss"])) for surface in found["fedasam+swa"])
    return [Contours.of(f"{method} alpha 0", surfaces, most) for method, surfaces in found.items()]


def _corruptions(results: Results, part: Part) -> list[Panel]:
    found = {m: [results.measure(part.named(m, 0), seed, CORRUPTED) for seed in results.seeds] for m in METHODS}
    kinds = tuple(found["fedavg"][0])
    by_severity = {
        m: (SEVERITIES, [[sum(one[k][n] for k in kinds) / len(kinds) for n in range(len(SEVERITIES))] for one in each])
        for m, each in found.items()
    }
    by_kind = {
        m: (range(len(kinds)), [[sum(one[k]) / len(SEVERITIES) for k in kinds] for one in each])
        for m, each in found.items()
    }
    return [
        Panel("severity", "accuracy, mean over corruptions", by_severity, share=True),
        Panel("", "accuracy, mean over severities", by_kind, labels=kinds, share=True),
    ]
