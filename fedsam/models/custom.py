"""A user's own model: any `package.module:callable` that returns a torch module.

Its keyword parameters are keys of the group, with their own types and defaults; `shape` (H, W, C), `classes`,
`num_classes` and `in_channels` are supplied where the signature has them, other usual names of these numbers
(`NAMES`) where it has none of the first; where inputs are tokens, their vocabulary. So

    def net(in_channels: int, classes: int, width: int = 32) -> nn.Module: ...

is chosen by `model.name=my_package.my_module:net model.width=64`. A parameter that no key can express (an object, a
function) keeps its default. A callable with `**kwargs` is given the first of `NAMES` that it understands, which is
found out by trying; such a name is a key, too, whose value has to be right.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from pydantic import Field, create_model
from torch import nn

from fedsam.border.content import summed
from fedsam.border.foreign import must_build
from fedsam.border.given import Holder, carried, holder, known, named
from fedsam.border.signature import key_of, must_have_values, reading_signature
from fedsam.config import Component, find
from fedsam.errors import InputError
from fedsam.models.base import Model
from fedsam.models.configured import parameters_of
from fedsam.models.initialise import Form, built, initialised

M = TypeVar("M", bound=Model)

SUPPLIED = ("shape", "classes", "num_classes", "in_channels")
CLASSES = "num_classes", "num_labels", "n_classes", "num_class", "n_class", "classes"
CHANNELS = "in_channels", "in_chans", "input_channels", "num_channels"
TOKENS = "vocab_size", "vocabulary", "n_tokens", "num_tokens", "ntoken"
NAMES = (*CLASSES, *CHANNELS, *TOKENS)


class _Adopted(Model):
    """The model made of a callable; its fields are made from the signature."""

    made_by: ClassVar[Callable[..., Any]]
    supplied: ClassVar[tuple[str, ...]]
    open: ClassVar[bool]
    """Whether the callable has `**kwargs`."""
    claims: ClassVar[tuple[str, ...]]
    """Keys whose values must be those of the data."""
    own: ClassVar[frozenset[str]]
    """Keys that are parameters of the callable."""

    def __init__(self, **values: Any) -> None:
        must_have_values(type(self), values)
        super().__init__(**values)

    def keys(self) -> dict[str, Any]:
        """Those that are set; the data's numbers need not be."""
        return {name: value for name, value in super().keys().items() if name not in self.claims or value is not None}

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """What the callable returns for images of this shape and these keys, by the first names that it understands."""
        return self.build_for(Form.of_images(shape, classes))

    def build_for(self, form: Form) -> nn.Module:
        """What the callable returns for this data set and these keys, by the first names that it understands."""
        spec = self._known(form)
        return self._build(form, {n: spec[n] for n in self._claimed() if n not in self.supplied})

    def module(self, shape: tuple[int, ...], classes: int, seed: int, form: Form | None = None) -> nn.Module:
        """As for any model; by the names of the data's numbers with which it can be built and fits the data."""
        return self._tried(form or Form.of_images(shape, classes), seed)[0]

    def untouched(self, shape: tuple[int, ...], classes: int, seed: int, form: Form | None = None) -> nn.Module:
        """As for any model."""
        form = form or Form.of_images(shape, classes)
        return built(self._tried(form, seed)[1], self.name, form.inputs, seed)

    def begun(self, module: nn.Module) -> nn.Module:
        """As for any model; a callable that has a parameter `weights` has its own use for it."""
        given: Any = module
        if not isinstance(given, nn.Module):
            return module  # which is refused in a moment
        if self.weights and "weights" in self.own:
            return self.replace(weights=None).begun(module)
        return super().begun(module)

    def _tried(self, form: Form, seed: int) -> tuple[nn.Module, Callable[[], nn.Module]]:
        spec, failed = self._known(form), []
        none, *named = self._ways(CLASSES, "")
        for by_class in (*named, none):
            for by_channel in self._ways(CHANNELS, "shape"):
                way = {name: spec[name] for name in (*by_class, *by_channel)}

                def build(way: dict[str, int] = way) -> nn.Module:
                    return self.begun(self._build(form, way))

                try:
                    return initialised(build, self.name, form.shape, form.classes, seed, form=form), build
                except InputError as error:
                    if error.key != "name":  # what is asked of the module, not the module
                        raise
                    failed.append(error)
                    if not by_channel and "a forward pass on" not in error.allowed:
                        break  # it is not for the channels
        told = [error for words in ("must give", "a forward pass") for error in failed if words in error.allowed]
        raise [*told, failed[-1]][0]

    def _ways(self, names: Sequence[str], instead: str) -> list[list[str]]:
        """Which of these names to try: none of them, or one; a single way if it is known."""
        given = [name for name in self._claimed() if name in names and name not in self.supplied]
        known = given or not self.open or {*names, instead} & {*self.supplied}
        return [given] if known else [[], *([name] for name in names)]

    def _claimed(self) -> list[str]:
        return [name for name in self.claims if getattr(self, name) is not None]

    def _known(self, form: Form) -> dict[str, Any]:
        shape = form.shape
        spec = {"shape": shape, **dict.fromkeys(CLASSES, form.classes), **dict.fromkeys(CHANNELS, shape[-1])}
        spec |= dict.fromkeys(TOKENS, form.vocabulary)
        for name in self._claimed():
            if spec[name] is None:  # inputs are no tokens
                spec[name] = getattr(self, name)
            elif getattr(self, name) != spec[name]:
                raise InputError(name, getattr(self, name), f"the data have {spec[name]}; leave it out")
        return spec

    def _build(self, form: Form, way: dict[str, int]) -> nn.Module:
        spec, cls = self._known(form), type(self)
        values = {field: getattr(self, field) for field in cls.own - {*cls.claims}}
        given = {name: spec[name] for name in cls.supplied}
        given |= {name: spec[name] for name in cls.claims if name in TOKENS and spec[name] is not None}
        module: nn.Module = cls.made_by(**given, **values, **(way if way.keys().isdisjoint(given) else {}))
        return module

    def __reduce__(self) -> tuple[Any, ...]:
        # Where a model travels to another process, its class would be looked up by its name: there is the callable.
        values = {field: getattr(self, field) for field in type(self).model_fields}
        return _restored, (self.name, values, carried([self.name]))


def _restored(name: str, values: dict[str, Any], things: dict[str, Any]) -> Model:
    with known(things):
        model: Model = find(Model, name)(**values)
    return model


def taken(thing: Any) -> Holder | None:
    """The holder of a module, or of a function or class that makes one; None for anything else.

    A module is copied for every run, with the weights that it has now: a run's seed changes nothing of them.
    """
    if isinstance(thing, nn.Module):
        return named(thing, type(thing).__name__, lambda: summed(thing))
    if not callable(thing) or isinstance(thing, Component):
        return None
    return named(thing, getattr(thing, "__name__", type(thing).__name__), lambda: summed(thing))


def adopted(root: type[M], found: Any, name: str) -> type[M]:
    """A subclass of `root` whose `build` calls `found`, and whose name is `name`.

    Raises:
        InputError: `found` is no callable that could return a module, or a parameter of it can be neither supplied nor
            a key.
    """
    if isinstance(found, nn.Module) and holder(name):
        found = _copies(found)
    component = inspect.isclass(found) and issubclass(found, Component)
    if not callable(found) or isinstance(found, nn.Module) or component:
        what = "a finished module" if isinstance(found, nn.Module) else f"{found!r}"
        raise InputError("name", name, f"is {what}, must be a Model class or a callable that returns a torch.nn.Module")
    must_build(found, name, nn.Module)
    with reading_signature(name):
        made_by, parameters = parameters_of(found)
    supplied = _supplied([parameter.name for parameter in parameters])
    takes_more = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    fields: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.name not in supplied and (field := key_of(parameter, name, Model, "adapter")) is not None:
            fields[parameter.name] = field
    claims = [own for own in supplied if own not in SUPPLIED]
    claims += [own for own in TOKENS if own in fields][:1]
    for group, instead in ((CLASSES, ""), (CHANNELS, "shape")):
        if takes_more and not {*group, instead} & {*supplied}:
            claims += [own for own in group if own not in fields]
    about: Any = {"description": f"the data's number, for {name}", "json_schema_extra": {"source": "the data"}}
    fields |= {own: (int | None, Field(default=None, **about)) for own in claims}
    module, _, attribute = name.partition(":")
    cls: Any = create_model(attribute, __base__=_Adopted, __module__=module, __doc__=inspect.getdoc(found), **fields)
    cls.made_by, cls.own = staticmethod(made_by), frozenset(fields)
    cls.supplied, cls.open, cls.claims = supplied, takes_more, tuple(claims)
    return cls  # type: ignore[no-any-return]


def _copies(module: nn.Module) -> Callable[[], nn.Module]:
    def copied() -> nn.Module:
        """A copy of a finished module."""
        return copy.deepcopy(module)

    return copied


def _supplied(names: Sequence[str]) -> tuple[str, ...]:
    """Which parameters are numbers of the data."""
    found = [name for name in names if name in SUPPLIED]
    for group, instead in ((CLASSES, ""), (CHANNELS, "shape")):
        if not {*found} & {*group, instead}:
            found += [name for name in group if name in names][:1]
    return tuple(name for name in names if name in found)
