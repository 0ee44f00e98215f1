"""What is refused of a value whatever its key: truth where a number belongs, and text that no file name can be."""

from __future__ import annotations

import os
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from fedsam.errors import InputError

PATH = "path"
"""In a field's extra information: its text is the path of a file or folder."""
LONGEST, LONGEST_PART = 4095, 255  # bytes of a path and of each of its parts, on Linux and macOS


def admitted(field: str, info: FieldInfo, value: Any) -> Any:
    """A value for a field, before it is validated: `none` where the field can be None, else as it is.

    Raises:
        InputError: true or false for a number, text with NUL or half a character, or a path that is too long.
    """
    if isinstance(value, str) and value == "none" and NoneType in get_args(info.annotation):
        return None
    kinds = _kinds(info.annotation)
    if bool not in kinds and {int, float} & kinds and any(isinstance(part, bool) for part in _parts(value)):
        raise InputError(field, value, "must be a number, which true and false are not")
    for part in _parts(value):
        if isinstance(part, str):
            plain_text(field, part)
    if isinstance(value, str) and isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get(PATH):
        short_path(field, value)
    return value


def plain_text(field: str, text: str) -> str:
    """Text that can be written to a file, and can be a file's name.

    Raises:
        InputError: it has a NUL or half a character (a lone surrogate).
    """
    if "\0" in text:
        raise InputError(field, text, "has a NUL character in it, which no name or path can have")
    try:
        text.encode("utf-8", "surrogateescape")  # bytes of a file's name that the locale cannot read are no halves
    except UnicodeEncodeError:
        raise InputError(field, text, "has half a character in it (a lone surrogate), which no text can have") from None
    return text


def short_path(field: str, text: str) -> str:
    """A path that a file system can hold.

    Raises:
        InputError: it is empty, or it or a part of it is too long.
    """
    longest = max((len(os.fsencode(part)) for part in text.split("/")), default=0)
    if longest > LONGEST_PART or len(os.fsencode(text)) > LONGEST:
        allowed = f"is too long: a path has at most {LONGEST} bytes, each name in it at most {LONGEST_PART}"
        raise InputError(field, text, allowed)
    return text


def _parts(value: Any) -> list[Any]:
    """A value, or those in a list."""
    return [part for each in value for part in _parts(each)] if isinstance(value, list | tuple | set) else [value]


def _kinds(held: Any) -> set[Any]:
    """The types that an annotation is made of."""
    origin = get_origin(held)
    if origin is Annotated:
        return _kinds(get_args(held)[0])
    if origin in (Union, UnionType, list, tuple, set):
        return set().union(*(_kinds(part) for part in get_args(held)))
    return {held} if isinstance(held, type) else set()
