"""A study of methods by strategy and by client optimiser, each in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median

from fedsam.measure.score import Score
from fedsam.sweeps.method_results import Method, Methods

PLAIN, SHARP = "sgd", "sam"
Table = tuple[Sequence[str], list[Sequence[str]]]


def by_strategy(found: Methods) -> Table:
    """A line for each strategy, the best first: with SGD, with SAM, and with the client optimiser that did best, which
    is chosen by the same numbers that are shown.
    """
    heads = ("strategy", PLAIN, SHARP, "best client", found.score.label(), "rounds", "MB", "λ₁")
    rows = {row["method"]: row for row in found.rows()}
    of = {(method.server, method.client): rows[method.name] for method in found.methods}
    lines: list[Sequence[str]] = []
    for server in dict.fromkeys(method.server for method in found.ranked()):
        best = next(row for row in rows.values() if row["server"] == server)
        plain, sharp = (_cell(found.score, of.get((server, client))) for client in (PLAIN, SHARP))
        numbers = [_number(best[f"{name}_mean"], *how) for name, how in SHOWN.items()]
        lines.append((server, plain, sharp, best["client"], _cell(found.score, best), *numbers))
    return heads, lines


SHOWN = {"rounds_to_target": (1.0, 0), "bytes_to_target": (1e-6, 1), "lambda_max": (1.0, 2)}
"""What is told of a strategy's best: a factor, and digits."""


def by_client(found: Methods) -> Table:
    """A line for each client optimiser, the best first: against SGD with the same strategy, over the strategies that
    take both. The median difference of the metric's means, how often it is better, the median ratios of λ₁ and of a
    round's time; then its best strategy.
    """
    unit = "points" if found.score.scale == 100 else found.score.words
    heads = ("client", "pairs", unit, f"better than {PLAIN}", "λ₁", "time", "best with", found.score.label())
    rows = {row["method"]: row for row in found.rows()}
    lines = []
    for client in dict.fromkeys(method.client for method in found.methods):
        own = [method for method in found.methods if method.client == client]
        best = next(row for row in rows.values() if row["client"] == client)
        pairs = [(method, plain) for method in own if (plain := _of(found.methods, method.server, PLAIN))]
        gain = [found.score.scale * (_accuracy(one) - _accuracy(other)) for one, other in pairs]
        better = sum(found.score.is_better(_accuracy(one), _accuracy(other)) for one, other in pairs)
        cells = [
            f"{median(gain):+.2f}" if gain and client != PLAIN else "–",
            f"{better} of {len(pairs)}" if gain and client != PLAIN else "–",
            _ratio(pairs, Method.sharpness),
            _ratio(pairs, Method.seconds),
        ]
        merit = found.score.merit(median(gain)) if gain else -float("inf")
        lines.append(
            (
                (merit, found.score.merit(best["accuracy_mean"])),
                (client, str(len(own)), *cells, best["server"], _cell(found.score, best)),
            )
        )
    return heads, [line for _, line in sorted(lines, key=lambda each: each[0], reverse=True)]


def _of(methods: Iterable[Method], server: str, client: str) -> Method | None:
    return next((method for method in methods if (method.server, method.client) == (server, client)), None)


def _accuracy(method: Method) -> float:
    return fmean(method.finals().values())


def _ratio(pairs: Sequence[tuple[Method, Method]], of: Callable[[Method], list[float]]) -> str:
    ratios = [fmean(of(one)) / fmean(of(other)) for one, other in pairs if of(one) and of(other) and fmean(of(other))]
    return f"{median(ratios):.2f}" if ratios else "–"


def _cell(score: Score, row: dict[str, float] | None) -> str:
    return "–" if row is None else score.cell(row["accuracy_mean"], row["accuracy_std"])


def _number(value: float | None, factor: float, digits: int) -> str:
    return "–" if value is None else f"{factor * value:.{digits}f}"
