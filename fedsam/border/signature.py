"""The parameters of a user's callable as keys."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field

from fedsam.errors import InputError


def must_have_values(cls: type[BaseModel], values: Mapping[str, Any], whose: str = "its callable") -> None:
    """Refuse that a key without a default has no value.

    Args:
        cls: the component, whose fields were made of parameters.
        values: that are given.
        whose: parameters, for the message.

    Raises:
        InputError: under the key.
    """
    for field, info in cls.model_fields.items():
        if info.is_required() and field not in values:
            raise InputError(field, InputError.ABSENT, f"needs a value, {whose} has no default for it")


@contextmanager
def reading_signature(name: str) -> Iterator[None]:
    """Say in one line that the signature of the callable of this name cannot be read.

    Raises:
        InputError: under "name".
    """
    try:
        yield
    except (ValueError, TypeError, NameError, AttributeError) as error:
        told = f"its signature cannot be read ({error}); wrap it in a function of your own"
        raise InputError("name", name, told) from None


def key_of(parameter: inspect.Parameter, name: str, root: type, *taken: str) -> Any:
    """The type and the default of the key for a parameter; None for one that keeps its own default.

    Args:
        name: of the callable.
        root: the kind of component that it makes, none of whose names a key can have.
        taken: other names that it cannot have.

    Raises:
        InputError: under "name": there can be no such key, and the parameter has no default.
    """
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return None
    required = parameter.default is parameter.empty
    held = parameter.annotation
    if held is parameter.empty and not required:
        held = type(parameter.default)
    if parameter.kind is parameter.POSITIONAL_ONLY or not _plain(held) or held is NoneType:
        if required:
            wanted = "a default, or a type that a key can have: bool, int, float, str"
            raise InputError("name", name, f"its parameter {parameter} needs {wanted}")
        return None
    if hasattr(root, parameter.name) or parameter.name in taken or parameter.name.startswith("_"):
        why = f"cannot be a key of a {getattr(root, 'kind', 'part')}, where it means something else; rename it"
        raise InputError("name", name, f"its parameter {parameter.name!r} {why}")
    if parameter.default is None:
        held = held | None
    about: dict[str, Any] = {"description": f"parameter of {name}", "json_schema_extra": {"source": "its signature"}}
    return held, Field(**about) if required else Field(default=parameter.default, validate_default=True, **about)


def _plain(held: Any) -> bool:
    """Whether a key can have values of this type: scalars, choices among them, and lists and tuples of them."""
    origin, inner = get_origin(held), get_args(held)
    if origin is Annotated:
        return _plain(inner[0])
    if origin in (Union, UnionType, list, tuple):
        return all(part is Ellipsis or _plain(part) for part in inner)
    return origin is Literal or held in (bool, int, float, str, NoneType)
