"""What the files of a run directory hold, as far as the report reads it: types of fields, all of which may be absent.

Whatever is more in a file is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

Finite = Annotated[float, Field(allow_inf_nan=False)]
Number = float | None
"""What was measured; where it is not finite, or None, there is a gap."""
Part = dict[str, Any]

Keys = TypedDict(
    "Keys",
    {"seed": int, "rounds": int, "cohort": int, "data.clients": int, "data.name": str, "model.name": str,
     "client.name": str, "server.name": str, "average.name": str},
    total=False,
)  # fmt: skip


class Environment(TypedDict, total=False):
    """Of run.json."""

    hardware: Part
    versions: Part


class Spectrum(TypedDict, total=False):
    """`geometry` of a record."""

    eigenvalues: list[Number] | None


class Record(TypedDict, total=False):
    """A line of metrics.jsonl."""

    lr: Number
    clients: list[int] | None
    bytes_up: Number
    bytes_down: Number
    seconds: Number
    eval_seconds: Number
    failures: list[Part] | None
    geometry: Spectrum | None
    local: Part | None
    diagnostics: Part | None
    turnout: Part | None


class Metric(TypedDict):
    """Of `metrics` of run.json."""

    name: str
    better: Literal["higher", "lower"]
    unit: str


class Clients(TypedDict, total=False):
    """clients.json; there and in geometry.json the headline metric stands beside the loss, by its own name."""

    round: int
    examples: list[Finite]
    loss: list[Number]


class Partition(TypedDict, total=False):
    """partition.json."""

    clients: int
    classes: int | None
    shown: int
    examples: list[int]
    label_counts: list[list[int]]
    measures: Part
    skew: dict[str, list[Any]]
    groups: list[list[str]]


class Density(TypedDict, total=False):
    """Of a spectrum."""

    grid: list[Finite]
    density: list[Number]
    width: Number


class Whole(TypedDict, total=False):
    """`global` of geometry.json."""

    eigenvalues: list[Number] | None
    residuals: list[Number] | None
    density: Density | None


class Flatness(TypedDict, total=False):
    """Of geometry.json."""

    clients: list[Part] | None


class Line(TypedDict, total=False):
    """Of geometry.json."""

    t: list[Finite]
    loss: list[Number]


class Grid(TypedDict, total=False):
    """A surface or a plane of geometry.json."""

    x: list[Finite]
    y: list[Finite]
    loss: list[list[Number]]
    points: list[Part] | None


class OfClient(TypedDict, total=False):
    """A row of `clients` of geometry.json."""

    examples: Number
    eigenvalues: list[Number] | None


class Measured(TypedDict, total=False):
    """A row of `sharpness` or `noise` of geometry.json."""

    rho: Number
    sigma: Number
    loss: Number
    loss_std: Number
    draws: Number


Geometry = TypedDict(
    "Geometry",
    {"global": Whole | None, "clients": list[OfClient] | None, "sharpness": list[Measured] | None,
     "noise": list[Measured] | None, "flatness": Flatness | None, "surface": Grid | None, "plane": Grid | None,
     "line": Line | None, "to": Line | None, "seconds": Part | None},
    total=False,
)  # fmt: skip


Row, Rows = list[Number], list[list[Number]]
KINDS: tuple[Any, ...] = (Keys, Environment, Record, Clients, Partition, Geometry, list[Metric], Number, Row, Rows)
ADAPTERS: dict[Any, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in KINDS}


def check(kind: Any, found: Any, headline: str = "accuracy") -> None:
    """Refuse what is not of a kind.

    Args:
        headline: the name of the metric that the run is judged by.

    Raises:
        ValueError: with the first field that is wrong, and how.
    """
    _typed(kind, found)
    if kind is Partition:
        counts = found.get("label_counts", [])
        _agree("label_counts", counts, len(counts), len(counts[0]) if counts else 0)
        if counts and not counts[0]:
            raise ValueError("label_counts has no classes")
    if kind is Clients:
        _valued(Row, found, headline)
        _long([name for name in ("examples", headline, "loss") if name in found], found)
    if kind is Geometry:
        _whole(found, headline)


def _whole(found: Part, headline: str) -> None:
    """Refuse a geometry whose parts do not fit together."""
    for part in ("line", "to"):
        line = found.get(part) or {}
        _valued(Row, line, headline, f"{part}.")
        _long([name for name in ("t", "loss", headline) if line.get(name)], line)
    if density := (found.get("global") or {}).get("density"):
        _long(["grid", "density"], density)
    for part in ("surface", "plane"):
        grid = found.get(part) or {}
        _valued(Rows, grid, headline, f"{part}.")
        for name in ("loss", headline):
            if grid.get(name):
                _agree(f"{part}.{name}", grid[name], len(grid.get("y", [])), len(grid.get("x", [])))
    for at, row in enumerate(found.get("noise") or []):
        for name in (headline, f"{headline}_std"):
            _valued(Number, row, name, f"noise.{at}.")


def _typed(kind: Any, found: Any, where: str = "") -> None:
    try:
        ADAPTERS[kind].validate_python(found, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        at = f"{where}{'.'.join(map(str, first['loc']))}".rstrip(".") or "it"
        raise ValueError(f"{at}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _valued(kind: Any, found: Part, name: str, where: str = "") -> None:
    if name in found:
        _typed(kind, found[name], f"{where}{name}.")


def _long(names: Sequence[str], found: Part) -> None:
    if len({len(found.get(name) or []) for name in names}) > 1:
        raise ValueError(f"{' and '.join(names)} are not of one length")


def _agree(name: str, rows: Sequence[Sequence[Any]], height: int, width: int) -> None:
    if len(rows) != height or any(len(row) != width for row in rows):
        raise ValueError(f"{name} is not {height} rows of {width} numbers")
