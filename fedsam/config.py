"""Configuration: validated, frozen objects, and the dotted keys that name their fields.

A `Component` is a part of a run that is chosen by name; its name is that of the module that defines it, so adding one
is adding a file. A component's fields are keys of the group it stands in: in `client.name=asam client.rho=0.7`, `rho`
is a field of `ASAM`. Where a component holds another (SAM its base optimiser, a data set its partition), the inner one
is chosen by the field's own key (`client.base=adamw`, `data.partition=shards`) and its fields are keys of the same
group. The same rule holds in Python: `ASAM(rho=0.7, lr=0.1)` is `ASAM(rho=0.7, base=SGD(lr=0.1))`.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from fedsam.border.face import Face
from fedsam.border.foreign import imported
from fedsam.border.given import holder
from fedsam.border.values import PATH, admitted, plain_text
from fedsam.border.wording import one_error
from fedsam.errors import InputError

LARGE = 1e30
"""The largest number that a key takes which goes into the arithmetic of training: float32 ends at 3.4e38."""

SCHEMES = {
    ("strategy", "flwr"): "fedsam.flower.stock",
    ("model", "hf"): "fedsam.models.zoo.hugging_face",
    ("model", "timm"): "fedsam.models.zoo.timm",
    ("model", "torchvision"): "fedsam.models.zoo.torchvision",
    ("data set", "hf"): "fedsam.data.hub",
    ("partition", "flwr"): "fedsam.data.partition.flower",
}
"""Modules that have short names for things, by kind of component and what stands before the colon (`flwr:Krum`): each
has `offered(name)`."""

ADAPTERS = {
    "strategy": "fedsam.flower.stock",
    "model": "fedsam.models.custom",
    "data set": "fedsam.data.objects",
    "partition": "fedsam.data.partition.objects",
}
"""Modules that make components of things that are none, by kind: each has `adopted(root, found, name)`."""

OBJECTS = "model", "data set", "partition"
"""Kinds of which such things are also taken as objects: their modules have `taken(thing)`, which gives its holder."""


def key(default: Any, help: str, source: str = "", path: bool = False, **bounds: Any) -> Any:
    """A field: its default, its help text, and where the default comes from (a paper, a table, a convention).

    Args:
        path: whether it is the path of a file or folder.
        bounds: `ge`, `gt`, `le`, `lt`; whatever multiplies work or memory has an upper one, or an estimate that goes
            before it (`fedsam.border.budget`).
    """
    extra: dict[str, Any] = {"source": source, **({PATH: True} if path else {})}
    return Field(default=default, description=help, json_schema_extra=extra, validate_default=True, **bounds)


class Config(BaseModel, metaclass=Face):
    """A frozen, validated record. Unknown fields and impossible values raise `InputError`, one line each."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    def __init__(self, **values: Any) -> None:
        cls = type(self)
        fields = cls.model_fields
        values = place(cls, {k: admitted(k, fields[k], v) if k in fields else v for k, v in values.items()})
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise one_error(error) from None

    @classmethod
    def holds(cls) -> dict[str, type[Component]]:
        """The parts that it holds by default and whose keys it understands, by field."""
        held = {field: (root_of(info), info.default) for field, info in cls.model_fields.items()}
        return {field: find(root, name) for field, (root, name) in held.items() if root and isinstance(name, str)}

    def __dir__(self) -> list[str]:
        return sorted({*type(self).model_fields, *dir(type(self))})

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated anew; a mapping without a name changes the part there is."""
        loose = (
            {} if isinstance(self, Groups) else {k: v for k, v in changes.items() if k not in type(self).model_fields}
        )
        for name, part in ((name, part) for name, part in self if isinstance(part, Component)):
            own = changes.get(name, {k: v for k, v in loose.items() if k in set(part.keys())})
            if isinstance(own, dict) and own and "name" not in own:
                changes[name] = part.replace(**own)
                changes = {k: v for k, v in changes.items() if k not in own or k not in loose}
        return type(self)(**{**{f: getattr(self, f) for f in self.model_fields_set}, **changes})

    def keys(self) -> dict[str, Any]:
        """Every key of this object with its value, as plain JSON types; parts by name, their fields beside them."""
        found: dict[str, Any] = {}
        for field in type(self).model_fields:
            value = getattr(self, field)
            found[field] = value.name if isinstance(value, Component) else value
            if isinstance(value, Component):
                found |= value.keys()
        return found


class Component(Config):
    """A part of a run that is chosen by name. A root of a kind declares `kind` and `package`; the rest are found."""

    kind: ClassVar[str]
    package: ClassVar[str]
    requires: ClassVar[frozenset[str]] = frozenset()
    """What it needs of the data and the task of a run: `images`, `classes`, `masks`, ...; see
    `fedsam.border.requirements`.
    """

    @property
    def name(self) -> str:
        """The name that chooses this component: its module's, or `package.module:Class` for one defined elsewhere."""
        return name_of(type(self))

    if not TYPE_CHECKING:  # where all that can be held is declared, see fedsam.reference.held

        def __getattr__(self, name: str) -> Any:
            """A key of a part that this one holds, as it can be given: `ASAM(lr=0.1).lr`."""
            for part in self.__dict__.values() if not name.startswith("_") else ():
                if isinstance(part, Component) and name in (held := part.keys()):
                    return getattr(part, name) if name in type(part).model_fields else held[name]
            return super().__getattr__(name)

    def required(self) -> dict[str, frozenset[str]]:
        """What this one needs, by the field that makes it so; by "" what it needs in any case."""
        return {"": self.requires} if self.requires else {}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if "package" in cls.__dict__ or inspect.isabstract(cls):  # a name, a mapping with a name, or an instance
            root = _root_of(cls)
            return core_schema.no_info_before_validator_function(
                partial(resolve, root), core_schema.is_instance_schema(cls)
            )
        return handler(source)


C = TypeVar("C", bound=Component)


def name_of(cls: type[Component]) -> str:
    """The name of a component class."""
    package, _, module = cls.__module__.rpartition(".")
    return module if package == cls.package else f"{cls.__module__}:{cls.__qualname__}"


def find(root: type[C], name: str) -> type[C]:
    """The class called `name` of the kind of `root`: a module of its package, or `package.module:Class`, which is
    looked up anew each time: it may have been defined anew.

    Raises:
        InputError: there is none; the message lists the names there are.
    """
    if "," in name and (several := getattr(root, "several", None)):  # of a kind of which there can be several at once
        return several([part.strip() for part in name.split(",")])  # type: ignore[no-any-return]
    if ":" in name:
        return _own(root, name)
    if name.isidentifier() and (cls := _defined(root, name)) is not None:
        return cls
    known = names(root)
    close = difflib.get_close_matches(name.lower(), known, n=1) or [":".join(name.rsplit(".", 1))] * ("." in name)
    hint = f"did you mean {close[0]!r}? " if close else ""
    if kinds := [kind.kind for kind in _kinds(Component) if kind is not root and name in names(kind)]:
        hint = f"it is the name of another kind of part, {kinds[0]}; "
    raise InputError(
        "name", name, f"no such {root.kind}; {hint}there are {', '.join(known)}, or your own package.module:Class"
    )


def _kinds(cls: type[Component]) -> Iterator[type[Component]]:
    """The roots of all kinds of component that have been imported."""
    for below in cls.__subclasses__():
        if isinstance(below.__dict__.get("package"), str):
            yield below
        yield from _kinds(below)


_adopted: dict[tuple[type, str], tuple[Any, type]] = {}


def _own(root: type[C], name: str) -> type[C]:
    """The class that a name with a colon stands for; one class for as long as it stands for the same object."""
    scheme, _, rest = name.partition(":")
    home, there = SCHEMES.get((root.kind, scheme)), holder(name)
    found = there.thing if there else importlib.import_module(home).offered(rest) if home else imported(name)
    if inspect.isclass(found) and issubclass(found, root):
        return found
    made_of, cls = (found, there.made.get(root, root)) if there else _adopted.get((root, name), (None, root))
    if made_of is not found or cls is root:
        if root.kind not in ADAPTERS:
            raise InputError("name", name, f"must be a subclass of {root.__module__}.{root.__name__}")
        cls = importlib.import_module(ADAPTERS[root.kind]).adopted(root, found, name)
        if there:
            there.made[root] = cls
            cls.holder = there
        else:
            _adopted[root, name] = found, cls
    return cls


def names(root: type[Component]) -> list[str]:
    """The names of all components of a kind, found in its package."""
    modules = pkgutil.iter_modules(importlib.import_module(root.package).__path__)
    return sorted(m.name for m in modules if not m.ispkg and _defined(root, m.name) is not None)


@lru_cache(maxsize=4096)
def _defined(root: type[C], module_name: str) -> type[C] | None:
    full = f"{root.package}.{module_name}"
    if importlib.util.find_spec(full) is None:
        return None
    module = importlib.import_module(full)
    mine = [
        c
        for c in vars(module).values()
        if inspect.isclass(c) and issubclass(c, root) and c.__module__ == full and not inspect.isabstract(c)
    ]
    mine = [c for c in mine if _root_of(c) is root and c is not root and not c.__name__.startswith("_")]
    return mine[-1] if mine else None


def _root_of(cls: type[Component]) -> type[Component]:
    """The root of its kind."""
    return next(c for c in cls.__mro__ if "package" in c.__dict__)


def resolve(root: type[C], value: Any) -> Any:
    """An instance of the kind of `root` from a name, or from a mapping of keys with a `name`; also from an object that
    one can be made of, as `name` or by itself. Anything else passes unchanged.
    """
    rest = dict(value) if isinstance(value, dict) else {"name": value}
    name = rest.pop("name", None)
    if not isinstance(name, str):
        if name is not None and (cls := _class_of(root, name)) is not None:
            return cls(**rest)
        if not isinstance(value, dict):
            return value
        raise InputError(
            "name", InputError.ABSENT if name is None else name, f"must name one of: {', '.join(names(root))}"
        )
    if odd := [field for field in rest if not isinstance(field, str)]:
        raise InputError("", odd[0], "is no name of a key")
    return find(root, plain_text("name", name))(**rest)


def _class_of(root: type[C], thing: Any) -> type[C] | None:
    """The class of components that stands for an object; None where there is none, or it is a component itself."""
    if inspect.isclass(thing) and issubclass(thing, root):
        return thing
    if isinstance(thing, Component) or root.kind not in OBJECTS:
        return None
    there = importlib.import_module(ADAPTERS[root.kind]).taken(thing)
    return None if there is None else find(root, there.name)


def _found(root: type[C], field: str, name: str) -> type[C]:
    """As `find`, for the name that a field was given; what is wrong with it is the field's."""
    try:
        return find(root, plain_text(field, name))
    except InputError as error:
        raise InputError(field, error.given, error.allowed) from None


def _made(root: type[C], field: str, given: dict[str, Any]) -> C:
    """As `resolve`, for the mapping that a field was given; a wrong name is the field's, other keys stand beside it."""
    try:
        made: C = resolve(root, given)
    except InputError as error:
        raise InputError(field if error.key in ("name", "") else error.key, error.given, error.allowed) from None
    return made


def root_of(field: FieldInfo) -> type[Component] | None:
    """The root of the kind of component that a field holds, or None for a field that holds a plain value."""
    held = field.annotation
    if inspect.isclass(held) and issubclass(held, Component):
        return _root_of(held)
    return None


def choices(field: FieldInfo) -> list[str]:
    """The names of all components that a field can hold."""
    root = root_of(field)
    return [name for name in names(root) if issubclass(find(root, name), held_by(field))] if root else []


def held_by(field: FieldInfo) -> type:
    """The class of what a field holds."""
    return field.annotation if inspect.isclass(field.annotation) else object


def place(cls: type[Config], values: dict[str, Any]) -> dict[str, Any]:
    """Hand each value that is not a field of `cls` to the component of `cls` that has such a field.

    Raises:
        InputError: nothing here has such a field; the message lists the fields there are.
    """
    placed = {k: v for k, v in values.items() if k in cls.model_fields}
    loose = {k: v for k, v in values.items() if k not in cls.model_fields}
    known = list(cls.model_fields)
    for field, info in cls.model_fields.items():
        root = root_of(info)
        chosen = placed.get(field, info.default)
        if root is None or not isinstance(chosen, str | dict):
            continue
        if isinstance(chosen, dict) and isinstance(info.default, str) and (chosen or issubclass(cls, Groups)):
            chosen = placed[field] = {"name": info.default, **chosen}
        if issubclass(cls, Groups):
            continue
        if isinstance(chosen, dict):
            placed[field] = _made(root, field, chosen)
            part, owned = type(placed[field]), []
        else:
            part = _found(root, field, chosen)
            owned = owned_keys(part, loose)
        if not issubclass(part, held_by(info)):
            raise InputError(field, chosen, f"must be one of {', '.join(choices(info))}")
        if isinstance(chosen, str):
            known += owned
            mine = {k: loose.pop(k) for k in list(loose) if k in owned}
            placed[field] = part(**mine)
    if loose:
        unknown = next(iter(loose))
        raise _unknown(cls, unknown, loose[unknown], known)
    return placed


def _unknown(cls: type[Config], key: str, value: Any, known: list[str]) -> InputError:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    others = _having(cls, key)
    elsewhere = f" (it is {' or '.join(others)} that has it)" if others else ""
    if issubclass(cls, Groups):
        elsewhere = f" (it is {' or '.join(others)})" if others else elsewhere
        hint = "keys with dots are for Run.from_keys; " if "." in key else "" if others else hint
    there = f"there are {', '.join(sorted(known))}" if known else "there are none"
    return InputError(key, value, f"no such key here{elsewhere}; {hint}{there}")


def owned_keys(cls: type[Config], values: dict[str, Any]) -> list[str]:
    """The keys that `cls` and the components it would hold, given `values`, understand."""
    owned = list(cls.model_fields)
    for field, info in cls.model_fields.items():
        root = root_of(info)
        chosen = values.get(field, info.default)
        if root is not None and isinstance(chosen, str):
            rest = {
                k: v for k, v in values.items() if k != field
            }  # or a component that holds its own kind would never end
            owned += owned_keys(_found(root, field, chosen), rest)
    return owned


class Groups(Config):
    """A record whose components are groups of their own (`client.rho`), instead of sharing its keys."""

    @classmethod
    def holds(cls) -> dict[str, type[Component]]:
        """None whose keys it understands."""
        return {}


def _having(cls: type[BaseModel], field: str) -> list[str]:
    """Where a key of this name would be: in parts that this one could hold, or in others of its kind."""
    roots = {held: root for held, info in cls.model_fields.items() if (root := root_of(info))}
    if issubclass(cls, Groups):
        return [f"{held}.{field}" for held, root in roots.items() if any(_holds(root, n, field) for n in names(root))]
    found = [f"{held}={name}" for held, root in roots.items() for name in names(root) if _has(root, name, field)]
    kind = next((base for base in cls.__mro__[::-1] if base is not Component and "kind" in vars(base)), None)
    if kind is None or not issubclass(cls, Component):
        return []
    return found + [name for name in names(kind) if _has(kind, name, field)]


def _has(root: type[Component], name: str, field: str) -> bool:
    return field in find(root, name).model_fields


def _holds(root: type[Component], name: str, field: str, above: tuple[type, ...] = ()) -> bool:
    above = (*above, root)  # below its own kind none is looked into
    inner = {held for i in find(root, name).model_fields.values() if (held := root_of(i)) and held not in above}
    return _has(root, name, field) or any(_holds(held, n, field, above) for held in inner for n in names(held))
