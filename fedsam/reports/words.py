"""Settings in words: parts as the papers write them, numbers by their letters."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

GREEK = {
    "alpha": "α",
    "beta": "β",
    "beta1": "β₁",
    "beta2": "β₂",
    "epsilon": "ε",
    "eta": "η",
    "gamma": "γ",
    "lmbda": "λ",
    "mu": "μ",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
}
METHODS = {"client": "fedsam.optim", "server": "fedsam.strategies", "average": "fedsam.strategies.averages"}
"""Groups whose parts are called as their classes are, and where these lie."""
PAIR = re.compile(r"([a-z][a-z0-9_]*(?:\.\w+)?)=(\S+)")


def readable(setting: str) -> str:
    """A setting that is named by its keys, in words; any other name as it is.

    >>> readable("client.name=asam data.alpha=0.1 average.name=none"), readable("FedAvg + SWA")
    ('ASAM, α = 0.1, no average', 'FedAvg + SWA')
    """
    own = keys_of(setting)
    return described(own, list(own)) if own else setting


def keys_of(setting: str) -> dict[str, str]:
    """The keys that a setting is named by, with their values; none if it has another name.

    >>> keys_of("client.name=sam rounds=5"), keys_of("SAM with rho=0.1")
    ({'client.name': 'sam', 'rounds': '5'}, {})
    """
    found = [PAIR.fullmatch(word) for word in setting.split(" ")]
    return {pair[1]: pair[2] for pair in found if pair} if all(found) else {}


def described(own: dict[str, Any], keys: Sequence[str]) -> str:
    """A setting in words: its values of these keys, or with none of them its client, server and average."""
    shown = [key for key in keys if key in own]
    if not shown:
        return ", ".join(_component(own, part) for part in METHODS if f"{part}.name" in own)
    last = Counter(key.rpartition(".")[2] for key in shown)
    words = []
    for key in shown:
        part, _, leaf = key.rpartition(".")
        if leaf == "name" and part:
            words.append(_component(own, part))
        else:
            named = GREEK.get(leaf, leaf.replace("_", " ")) if last[leaf] == 1 else key
            words.append(f"{named} = {plain(own[key])}")
    return ", ".join(words)


def plain(value: Any) -> str:
    """A key's value as a reader sees it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _component(keys: dict[str, Any], part: str) -> str:
    value = str(keys[f"{part}.name"])
    if value == "none":
        return f"no {part}"
    if part not in METHODS or not value.isidentifier():
        return value.rpartition(":")[2]
    return class_name(METHODS[part], value) or value


@lru_cache(maxsize=256)
def class_name(package: str, name: str) -> str | None:
    """What the class of a part is called, read off its module's text: to import it would take as long as torch does.
    None if there is no such module, as for a part of an older or another program.
    """
    spec = find_spec(f"{package}.{name}")
    if spec is None or not spec.origin:
        return None
    body = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
    classes = [each.name for each in body if isinstance(each, ast.ClassDef) and not each.name.startswith("_")]
    return classes[-1] if classes else None
