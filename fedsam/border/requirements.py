"""What parts of a run need of its data and its task, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from fedsam.config import Component, Config, find, names, root_of
from fedsam.errors import InputError


def check_requirements(run: Config, offered: Collection[str], by: str) -> None:
    """Refuse a part that needs what nothing offers.

    Args:
        run: its parts say what they need by `Component.required`.
        offered: by the data and the task.
        by: what these are, for the message.

    Raises:
        InputError: under the key that names the part, or makes that it needs something.
    """
    for key, group, part, kind in _parts(run, ""):
        for field, needed in part.required().items():
            if missing := sorted(needed - set(offered)):
                told = f"needs {' and '.join(missing)}, which {by} has not"
                if field:
                    raise InputError(group + field, getattr(part, field), f"{told}; leave it out")
                others = [name for name in names(kind) if not find(kind, name).requires - set(offered)]
                raise InputError(key, part.name, f"{told}; use {', '.join(others) or 'your own'}")


def _parts(holder: Config, group: str) -> Iterator[tuple[str, str, Component, type[Component]]]:
    """Each part: its key, the group its fields stand in, itself, and the root of its kind."""
    for field, info in type(holder).model_fields.items():
        part, kind = getattr(holder, field), root_of(info)
        if isinstance(part, Component) and kind is not None:
            own = group or f"{field}."
            yield f"{group}{field}" if group else f"{field}.name", own, part, kind
            yield from _parts(part, own)
