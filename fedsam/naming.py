"""Names of run directories, made of names of settings."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

LONGEST = 80  # letters


def directory_names(settings: Sequence[str]) -> dict[str, str]:
    """A directory's name for each setting: its letters and digits, and a few of its checksum where that is too long or
    that of two settings.
    """
    plain = {name: "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-") or "run" for name in settings}
    taken = list(plain.values())
    return {
        name: found
        if len(found) <= LONGEST and taken.count(found) == 1
        else f"{found[:LONGEST]}-{sha256(name.encode()).hexdigest()[:8]}"
        for name, found in plain.items()
    }
