"""Data sets that are given as objects.

Shapes: N examples, H height, W width, C channels, L classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from pydantic import create_model

from fedsam.border.given import Holder, carried, known, named
from fedsam.config import find
from fedsam.data import custom
from fedsam.data.arrays import of_arrays, of_examples
from fedsam.data.base import Dataset, Split
from fedsam.data.digest import digest
from fedsam.data.images.spec import ImageSpec
from fedsam.data.map_style import Columns, Examples, examples_of
from fedsam.data.spec import Spec
from fedsam.data.stored import Partitioned
from fedsam.errors import InputError
from fedsam.rng import stream
from fedsam.tasks.base import Task

TEST_SHARE = 0.2
"""Of the examples, where no test set is given; which ones does not depend on the run's seed."""
NUMBERS = "regression", "multilabel"
"""Tasks whose targets are numbers, also where these are whole."""


@dataclass(frozen=True)
class Content:
    """What is given: training and test examples, in the form that `Partitioned.read` returns them."""

    spec: Spec
    train: Split
    test: Split
    task: str

    def summed(self) -> str:
        """sha256 of it."""
        splits = [part for each in (self.train, self.test) for part in (each.inputs, each.targets, each.groups)]
        return digest(*splits, repr(self.spec), self.task)


class _Given(Partitioned):
    """A data set that is in memory already."""

    content: ClassVar[Content]

    def read(self) -> tuple[Spec, Split, Split]:
        """What was given."""
        content = type(self).content
        return content.spec, content.train, content.test

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.name, self.keys(), carried(self.keys().values()), carried([self.name]))


def _restored(name: str, values: dict[str, Any], others: dict[str, Any], things: dict[str, Any]) -> Dataset:
    with known({**others, **things}):
        made: Dataset = find(Dataset, name)(**values)
    return made


def dataset(
    train: Any,
    test: Any = None,
    *,
    inputs: str | Sequence[str] | None = None,
    targets: str | None = None,
    groups: str | Any = None,
    classes: int | None = None,
    task: str | None = None,
    name: str | None = None,
    **keys: Any,
) -> Dataset:
    """A data set of objects in memory, for `Run(data=...)`.

        fedsam.dataset((x, y), clients=10, alpha=0.1)
        fedsam.dataset(TensorDataset(x, y), (x_test, y_test), partition=client_of_each_example)
        fedsam.dataset(hf["train"], hf["test"], targets="label", groups="writer_id", partition="natural")

    Images are uint8 [N, H, W, C], [N, H, W] or with the channels first, or such bytes divided by 255. What else arrays
    are taken for is said at `fedsam.data.arrays.of_arrays`.

    Args:
        train: (inputs, targets), a `TensorDataset`, any data set with positions, a Hugging Face `Dataset`, a data
            frame; see `fedsam.data.map_style.examples_of`.
        test: likewise; None = a fifth of `train`, by lot.
        inputs, targets: columns, where these have names.
        groups: the column that says whose examples they are, or this itself for each training example; what
            `partition="natural"` and `unseen` go by.
        classes: how many; None = one more than the largest label.
        task: its name; None = by the targets.
        name: what it is called in names of runs; None = that of the object's class.
        keys: of the data, such as `clients`, `partition`, `alpha`, `local_test`.

    Raises:
        InputError: these are no examples, or a key is none of a data set.
    """
    there = _holder(
        train, test, Columns(inputs, targets, groups if isinstance(groups, str) else None), groups, classes, task, name
    )
    return find(Dataset, there.name)(**keys)


def taken(thing: Any) -> Holder | None:
    """The holder of data in memory, without anything said beside it; None for what is no such thing."""
    if isinstance(thing, type) or (callable(thing) and not hasattr(thing, "__getitem__")):
        return None
    if isinstance(thing, Mapping):
        return _holder(thing.get("train"), thing.get("test"), Columns(), None, None, None, None)
    pair = isinstance(thing, tuple | list) and len(thing) == 2
    if pair and all(isinstance(part, tuple | list) and len(part) == 2 for part in thing):
        return _holder(thing[0], thing[1], Columns(), None, None, None, None)
    return _holder(thing, None, Columns(), None, None, None, None)


def _holder(
    train: Any, test: Any, columns: Columns, groups: Any, classes: int | None, task: str | None, name: str | None
) -> Holder:
    first = examples_of(train, columns)
    if groups is not None and not isinstance(groups, str):
        first = examples_of((first.inputs, first.targets, groups))
    second = None if test is None else examples_of(test, columns)
    content = _content(first, second, classes, task)
    label = name or ("arrays" if isinstance(train, tuple | list) else type(train).__name__)
    return named(content, label, content.summed)


def _content(train: Examples, test: Examples | None, classes: int | None, task: str | None) -> Content:
    if test is None:
        order = stream(0, "given data").permutation(len(train))
        cut = max(1, round(TEST_SHARE * len(train)))
        if cut == len(train):
            raise InputError("name", InputError.ABSENT, "there is one example alone; a test set needs another")
        train, test = _at(train, np.sort(order[cut:])), _at(train, np.sort(order[:cut]))
    parts = [of_examples(part) for part in (train, test)]
    if task in NUMBERS:
        parts = [part | {"targets": part["targets"].astype(np.float32)} for part in parts]
    try:
        spec, *splits = of_arrays(*parts)
    except ValueError as error:
        raise InputError("name", InputError.ABSENT, str(error)) from None
    if spec.classes is not None:
        count = classes or max(spec.classes, len(train.names))
        spec = replace(spec, classes=count, names=train.names if len(train.names) == count else ())
    return Content(spec, splits[0], splits[1], task or _task(spec, splits[0].targets))


def _at(examples: Examples, at: np.ndarray) -> Examples:
    groups = None if examples.groups is None else examples.groups[at]
    return Examples(examples.inputs[at], examples.targets[at], groups, examples.names)


def _task(spec: Spec, targets: np.ndarray) -> str:
    if spec.classes is not None:
        return "segmentation" if spec.masks else "sequence" if spec.target_shape else "classification"
    several = targets.ndim == 2 and ((targets == 0) | (targets == 1)).all()
    return "multilabel" if several else "regression"


def adopted(root: type[Dataset], found: Any, name: str) -> type[Dataset]:
    """A data set of what is given, or of what a callable returns.

    Raises:
        InputError: `found` is neither.
    """
    if not isinstance(found, Content):
        return custom.adopted(root, found, name)
    module, _, attribute = name.partition(":")
    cls: Any = create_model(attribute, __base__=_Given, __module__=module, __doc__="Data that were given as an object.")
    task: str | Task = found.task
    cls.content, cls.task = found, task
    there = {
        "images": isinstance(found.spec, ImageSpec),
        "tokens": found.spec.vocabulary is not None,
        "groups": found.train.groups is not None,
    }
    cls.offers = frozenset(name for name, known in there.items() if known)
    return cls  # type: ignore[no-any-return]
