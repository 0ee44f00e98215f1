"""How the classes of the configuration show themselves to people: signature, help page and completion.

What pydantic has brought along is left out, and the keys of the parts that a part holds are there.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, dataclass_transform

from pydantic import BaseModel
from pydantic._internal._model_construction import ModelMetaclass
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

HIDDEN = {name for name in dir(BaseModel) if name != "__init__"} | {"_abc_impl", "kind", "package", "requires"}


@dataclass_transform(kw_only_default=True)
class Face(ModelMetaclass):
    """The class of these classes."""

    @property
    def __signature__(self) -> inspect.Signature:
        """The fields of the class, and of what it holds by default."""
        own = [
            inspect.Parameter(
                field,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=info.annotation,
                default=inspect.Parameter.empty if info.default is PydanticUndefined else info.default,
            )
            for field, info in _told(self)
        ]
        others = [inspect.Parameter("others", inspect.Parameter.VAR_KEYWORD, annotation=Any)]
        return inspect.Signature([*own, *(others if len(own) > len(_fields(self)) else [])])

    @__signature__.setter
    def __signature__(self, value: object) -> None:
        pass  # pydantic's own

    @property
    def __doc__(self) -> str | None:
        """The docstring, and the keys with what they mean."""
        raw = next((text for base in self.__mro__ if (text := base.__dict__.get("__doc__"))), None)
        lines = [f"    {field}: {_explained(info)}" for field, info in _told(self) if info.description]
        return "\n".join([inspect.cleandoc(raw or ""), "", "Keys:", *lines]) if lines else raw

    @__doc__.setter
    def __doc__(self, value: str | None) -> None:
        vars(type)["__doc__"].__set__(self, value)  # where a class travels by value

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in HIDDEN and not name.startswith("__pydantic")]


def _fields(cls: type) -> dict[str, FieldInfo]:
    return getattr(cls, "__pydantic_fields__", {})


def _told(cls: Any) -> Iterator[tuple[str, FieldInfo]]:
    """The fields of a class, parts after numbers, and then those of its default parts, each name once."""
    seen = set[str]()
    parts = [cls]
    while parts:
        held, *parts = parts
        inner = held.holds() if _fields(held) else {}
        for field, info in sorted(_fields(held).items(), key=lambda each: each[0] in inner):
            if field not in seen:
                seen.add(field)
                yield field, info
        parts += inner.values()


def _explained(info: FieldInfo) -> str:
    extra = info.json_schema_extra
    source = extra.get("source") if isinstance(extra, dict) else ""
    shown = "" if info.default is PydanticUndefined else f"{'none' if info.default is None else info.default}"
    aside = ", ".join(text for text in (shown, str(source or "")) if text)
    return f"{info.description} ({aside})" if aside else str(info.description)
