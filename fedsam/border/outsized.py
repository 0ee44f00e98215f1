"""Which numbers of a part are far from their defaults, for errors that have to name what made something too large."""

from __future__ import annotations

from fedsam.config import Component


def outsized(part: Component, times: float = 1.0) -> dict[str, float]:
    """The fields of a part, and of the parts inside it, whose number is more than so many times the default, the most
    unusual first; a default of 0 or none counts as 1.
    """
    ratios = _ratios(part)
    return {name: value for ratio, name, value in sorted(ratios, key=lambda each: -each[0]) if ratio > times}


def _ratios(part: Component) -> list[tuple[float, str, float]]:
    found = []
    for field, info in type(part).model_fields.items():
        value, usual = getattr(part, field), info.default
        if isinstance(value, Component):
            found += _ratios(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            number = isinstance(usual, int | float) and usual > 0
            found.append((value / usual if number else float(value), field, value))
    return found
