"""A user's own data: any `package.module:callable` that returns map-style torch data sets, or arrays.

Its keyword parameters are keys of `data.`, with their own types and defaults. So

    def photos(folder: str = "photos") -> tuple[Dataset, Dataset]:
        return ImageFolder(f"{folder}/train"), ImageFolder(f"{folder}/test")

is chosen by `data.name=my_package.my_module:photos data.folder=/data/photos`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn, TypeVar

import numpy as np
from pydantic import create_model

from fedsam.border.foreign import must_build
from fedsam.border.signature import key_of, must_have_values, reading_signature
from fedsam.config import Component, find
from fedsam.data.arrays import of_arrays, of_examples
from fedsam.data.base import Dataset, Split
from fedsam.data.map_style import examples_of
from fedsam.data.spec import Spec
from fedsam.data.stored import Partitioned
from fedsam.errors import InputError

D = TypeVar("D", bound=Dataset)


class _Adopted(Partitioned):
    """The data set made of a callable; its fields are made from the signature.

    It returns (training, test) or {"train": ..., "test": ...}, and says so (`-> tuple[Dataset, Dataset]`) where it is
    part of an installed package. Either is a map-style data set of examples (input, target) or (input, target, client),
    a tuple of such arrays, or what else `fedsam.data.map_style.examples_of` knows. What arrays are taken for is said at
    `fedsam.data.arrays.of_arrays`; images may also be PIL images, or tensors [C, H, W] of bytes / 255.
    """

    offers: ClassVar[frozenset[str]] = frozenset({"images", "groups", "tokens"})
    made_by: ClassVar[Callable[..., Any]]

    def __init__(self, **values: Any) -> None:
        must_have_values(type(self), values)
        super().__init__(**values)

    def read(self) -> tuple[Spec, Split, Split]:
        """Every example of what the callable returns.

        Raises:
            InputError: it raises, returns something else, or an example cannot be used.
        """
        own = {name: getattr(self, name) for name in type(self).model_fields if name not in Partitioned.model_fields}
        try:
            found = type(self).made_by(**own)
        except Exception as error:
            self._refuse(f"raised {type(error).__name__}: {error}")
        if isinstance(found, Mapping) and {"train", "test"} <= set(found):
            found = found["train"], found["test"]
        if not isinstance(found, tuple | list) or len(found) != 2:
            told = 'must be (training, test) or {"train": ..., "test": ...}'
            self._refuse(f"returned {type(found).__name__}, {told}")
        train, test = (self._arrays(part, which) for part, which in zip(found, ("training", "test"), strict=True))
        try:
            return of_arrays(train, test)
        except ValueError as error:
            self._refuse(str(error))

    def _arrays(self, part: Any, which: str) -> dict[str, np.ndarray]:
        try:
            return of_examples(examples_of(part))
        except InputError as error:
            self._refuse(f"its {which} set: {error.allowed}")
        except Exception as error:  # of the user's own
            self._refuse(f"its {which} set raised {type(error).__name__}: {error}")

    def _refuse(self, told: str) -> NoReturn:
        raise InputError("name", self.name, " ".join(told.split()))

    def __reduce__(self) -> tuple[Any, ...]:
        # Where it travels to another process, its class would be looked up by its name: there is the callable.
        return _restored, (self.name, {field: getattr(self, field) for field in type(self).model_fields})


def _restored(name: str, values: dict[str, Any]) -> Dataset:
    data: Dataset = find(Dataset, name)(**values)
    return data


def adopted(root: type[D], found: Any, name: str) -> type[D]:
    """A subclass of `root` whose examples are those of what `found` returns, and whose name is `name`.

    Raises:
        InputError: `found` is no callable, or a parameter of it cannot be a key.
    """
    if not callable(found) or (inspect.isclass(found) and issubclass(found, Component)):
        told = f"must be a subclass of {root.__module__}.{root.__name__}, or a callable that returns (training, test)"
        raise InputError("name", name, told)
    must_build(found, name, tuple, dict)
    with reading_signature(name):
        parameters = inspect.signature(found, eval_str=True).parameters.values()
    fields = {each.name: held for each in parameters if (held := key_of(each, name, Partitioned)) is not None}
    if taken := sorted(set(fields) & set(Partitioned.model_fields)):
        raise InputError("name", name, f"its parameter {taken[0]!r} is a key of every data set; rename it")
    module, _, attribute = name.partition(":")
    cls: Any = create_model(attribute, __base__=_Adopted, __module__=module, __doc__=inspect.getdoc(found), **fields)
    cls.made_by = staticmethod(found)
    return cls  # type: ignore[no-any-return]
