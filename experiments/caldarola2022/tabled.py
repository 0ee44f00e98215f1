"""The tables of Caldarola et al. 2022, of our runs: theirs could not be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fedsam.data.images.corruptions import CORRUPTIONS, SEVERITIES
from fedsam.experiments.caldarola2022 import tasks
from fedsam.experiments.caldarola2022.answers import CORRUPTED, accuracy, clean, drop, robust
from fedsam.experiments.caldarola2022.settings import CENTRAL, CLIENTS, ENDS, IMAGES, LEAKY, METHODS, PARTS, Part
from fedsam.reproduce.base import Preset
from fedsam.reproduce.beside import Rows, grid
from fedsam.reproduce.corrupted import drops
from fedsam.reproduce.flatness import Eigenvalues, ratio
from fedsam.reproduce.results import Results

Cell = Callable[[Results, int], float]
Value = Callable[[Results, str, int], float]
Table = Callable[[Results], Rows]
MEAN = "mean over the last rounds"


def tables(preset: Preset) -> dict[str, Table]:
    """Each by its title: mean ± standard deviation over the seeds that are there, `-` where there is no run."""
    found = {title: table for part in PARTS[preset] for title, table in _of(part, IMAGES[preset]).items()}
    return found | {f"Other tasks: mIoU, or accuracy (%), {MEAN}": _table("tasks", tasks.rows(preset, METHODS))}


def _of(part: Part, images: int) -> dict[str, Table]:
    eigenvalues = Eigenvalues(images)
    found = {
        f"{part.title}: test accuracy (%), {MEAN}, by method, clients per round and alpha": _table(
            f"{part.title}, accuracy", _by_alpha(part, percent(accuracy), part.few)
        ),
        f"{part.title}: largest eigenvalue of the Hessian": _table(
            f"{part.title}, λ1", _by_alpha(part, lambda r, n, s: float(r.measure(n, s, eigenvalues)[0]))
        ),
        f"{part.title}: largest eigenvalue over the fifth (`-` also where the fifth is not above 0)": _table(
            f"{part.title}, λ1/λ5", _by_alpha(part, lambda r, n, s: ratio(r.measure(n, s, eigenvalues)))
        ),
        f"{part.title}: accuracy (%) on corrupted test images, alpha 0, after the last round": _table(
            f"{part.title}, corruption and severity", _corrupted(part)
        ),
        f"{part.title}: drop (points) from the accuracy on clean test images, alpha 0, after the last round": _table(
            f"{part.title}, drop", _dropped(part)
        ),
    }
    if part.augments:
        title = f"{part.title}: test accuracy (%), {MEAN}, with mixup and cutout"
        found[title] = _table(f"{part.title}, augmentation", _augmented(part))
    if part.others:
        title = f"{part.title}: test accuracy (%), {MEAN}, beside other methods (AdaBest is not implemented)"
        found[title] = _table(f"{part.title}, comparison", _compared(part))
    if part.epochs is not None:
        title = f"{part.title}: test accuracy (%), {MEAN}, all data in one place"
        rows = {name: {"accuracy": at(percent(accuracy), part.central(name))} for name in CENTRAL}
        found[title] = _table(f"{part.title}, centralised", rows)
    if part.leak is not None:
        title = f"{part.title}: test accuracy (%), {MEAN}, with the leak of the authors' files, alpha {LEAKY}"
        found[title] = _table(f"{part.title}, leak", _leaked(part))
    return found


def percent(value: Value) -> Value:
    """100 times a value."""
    return lambda results, name, seed: 100 * value(results, name, seed)


def at(value: Value, name: str) -> Cell:
    """The value of one run."""
    return lambda results, seed: value(results, name, seed)


def _table(corner: str, rows: Mapping[str, Mapping[str, Cell]]) -> Table:
    return lambda results: grid(results, corner, rows)


def _alphas(part: Part, value: Value, method: str, alphas: Iterable[float], *more: str) -> dict[str, Cell]:
    return {f"alpha {alpha:g}": at(value, part.named(method, alpha, *more)) for alpha in alphas}


def _by_alpha(part: Part, value: Value, crowded: Iterable[str] = ()) -> dict[str, dict[str, Cell]]:
    rows = {method: _alphas(part, value, method, part.alphas) for method in METHODS}
    for clients in CLIENTS[1:] if part.crowded else ():
        some = f"{clients} a round"
        rows |= {f"{m}, {some}": _alphas(part, value, m, part.crowded, some) for m in crowded}
    return rows


def _augmented(part: Part) -> dict[str, dict[str, Cell]]:
    return {
        f"{method}, {augment}" if augment else method: _alphas(
            part, percent(accuracy), method, part.shown, *(augment and [augment])
        )
        for method in part.few
        for augment in ("", *part.augments)
    }


def _compared(part: Part) -> dict[str, dict[str, Cell]]:
    return {m: _alphas(part, percent(accuracy), m, part.shown) for m in (*ENDS[:1], *part.others, *ENDS[1:])}


def _corrupted(part: Part) -> dict[str, dict[str, Cell]]:
    def under(kind: str, place: int) -> Value:
        return lambda r, name, s: 100 * float(r.measure(name, s, CORRUPTED)[kind][place])

    values: dict[str, Value] = {"none": percent(clean)}
    for kind in CORRUPTIONS:
        values |= {f"{kind} {severity}": under(kind, place) for place, severity in enumerate(SEVERITIES)}
    return _by_method(part, values | {"mean": percent(robust)})


def _dropped(part: Part) -> dict[str, dict[str, Cell]]:
    def found(results: Results, name: str, seed: int) -> dict[str, list[float]]:
        return drops(results.measure(name, seed, CORRUPTED), clean(results, name, seed))

    def of_kind(kind: str) -> Value:
        return lambda r, name, s: 100 * sum(found(r, name, s)[kind]) / len(SEVERITIES)

    def of_severity(place: int) -> Value:
        return lambda r, name, s: 100 * sum(each[place] for each in found(r, name, s).values()) / len(CORRUPTIONS)

    values = {kind: of_kind(kind) for kind in CORRUPTIONS}
    values |= {f"severity {severity}": of_severity(place) for place, severity in enumerate(SEVERITIES)}
    return _by_method(part, values | {"mean": percent(drop)})


def _by_method(part: Part, values: Mapping[str, Value]) -> dict[str, dict[str, Cell]]:
    return {label: {m: at(value, part.named(m, 0)) for m in METHODS} for label, value in values.items()}


def _leaked(part: Part) -> dict[str, dict[str, Cell]]:
    def more(one: str, other: str) -> Cell:
        return lambda r, s: 100 * (accuracy(r, one, s) - accuracy(r, other, s))

    rows: dict[str, dict[str, Cell]] = {}
    for method in ENDS:
        without, with_leak = part.named(method, LEAKY), part.named(method, LEAKY, "leak")
        rows[method] = {
            "without": at(percent(accuracy), without),
            "with": at(percent(accuracy), with_leak),
            "difference": more(with_leak, without),
        }
    return rows
