"""A user's own model: any `package.module:callable` that returns a torch module.

Its keyword parameters are keys of the group, with their own types and defaults; `shape` (H, W, C), `classes`,
`num_classes` and `in_channels` are supplied where the signature has them. So

    def net(in_channels: int, classes: int, width: int = 32) -> nn.Module: ...

is chosen by `model.name=my_package.my_module:net model.width=64`. A parameter that no key can express (an object, a
function) keeps its default.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import Field, create_model
from torch import nn

from fedsam.config import Component, find
from fedsam.errors import InputError
from fedsam.foreign import must_build
from fedsam.models.base import Model

M = TypeVar("M", bound=Model)

SUPPLIED = ("shape", "classes", "num_classes", "in_channels")


class _Adopted(Model):
    """The model made of a callable; its fields are made from the signature."""

    made_by: ClassVar[Callable[..., Any]]
    supplied: ClassVar[tuple[str, ...]]

    def __init__(self, **values: Any) -> None:
        for field, info in type(self).model_fields.items():
            if info.is_required() and field not in values:
                raise InputError(field, InputError.ABSENT, "needs a value, its callable has no default for it")
        super().__init__(**values)

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """What the callable returns for this data set and these keys."""
        facts = {"shape": shape, "classes": classes, "num_classes": classes, "in_channels": shape[2]}
        values = {field: getattr(self, field) for field in type(self).model_fields}
        module: nn.Module = type(self).made_by(**{name: facts[name] for name in self.supplied}, **values)
        return module

    def __reduce__(self) -> tuple[Any, ...]:
        # Where a model travels to another process, its class would be looked up by its name: there is the callable.
        return _restored, (self.name, {field: getattr(self, field) for field in type(self).model_fields})


def _restored(name: str, values: dict[str, Any]) -> Model:
    model: Model = find(Model, name)(**values)
    return model


def adopted(root: type[M], found: Any, name: str) -> type[M]:
    """A subclass of `root` whose `build` calls `found`, and whose name is `name`.

    Raises:
        InputError: `found` is no callable that could return a module, or a parameter of it can be neither supplied nor
            a key.
    """
    component = inspect.isclass(found) and issubclass(found, Component)
    if not callable(found) or isinstance(found, nn.Module) or component:
        what = "a finished module" if isinstance(found, nn.Module) else f"{found!r}"
        raise InputError("name", name, f"is {what}, must be a Model class or a callable that returns a torch.nn.Module")
    must_build(found, name, nn.Module)
    try:
        parameters = inspect.signature(found, eval_str=True).parameters.values()
    except (ValueError, TypeError, NameError, AttributeError) as error:
        allowed = f"its signature cannot be read ({error}); wrap it in a function of your own"
        raise InputError("name", name, allowed) from None
    fields: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.name not in SUPPLIED and (field := _field(parameter, name)) is not None:
            fields[parameter.name] = field
    module, _, attribute = name.partition(":")
    cls: Any = create_model(attribute, __base__=_Adopted, __module__=module, __doc__=inspect.getdoc(found), **fields)
    cls.made_by = staticmethod(found)
    cls.supplied = tuple(p.name for p in parameters if p.name in SUPPLIED)
    return cls  # type: ignore[no-any-return]


def _field(parameter: inspect.Parameter, name: str) -> Any:
    """The type and the default of the key for a parameter; None for one that keeps its own default."""
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
    if hasattr(Model, parameter.name) or parameter.name.startswith("_"):
        why = "cannot be a key of a model, where it means something else; rename it"
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
