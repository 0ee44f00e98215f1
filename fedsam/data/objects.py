"""Data sets that are given as objects.

Shapes: N examples, H height, W width, C channels, L classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import create_model

from fedsam.border.given import Holder, carried, known, named
from fedsam.config import find
from fedsam.data import custom
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
CHANNELS = 1, 3, 4
WHITE = 255.0


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

    Images are uint8 [N, H, W, C], [N, H, W] or with the channels first, or such bytes divided by 255. Other inputs are
    taken as they are: floats, or whole numbers such as tokens.

    Args:
        train: (inputs, targets), a `TensorDataset`, any data set with positions, a Hugging Face `Dataset`, a data
            frame; see `fedsam.data.map_style.examples_of`.
        test: likewise; None = a fifth of `train`, by lot.
        inputs, targets: columns, where these have names.
        groups: the column that says whose examples they are, or this itself for each training example; what
            `partition="natural"` and `unseen` go by.
        classes: how many; None = one more than the largest label.
        task: classification, regression, multilabel or segmentation; None = by the targets.
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
    kind = task or _task(train.targets)
    of_classes = kind in ("classification", "segmentation")
    count = (classes or _classes(train, test)) if of_classes else None
    if kind == "multilabel":
        count = train.targets.shape[1]
    known_groups = sorted(set(train.groups.tolist() if train.groups is not None else ()), key=_natural)
    spec = _spec(train, count, tuple(known_groups))
    return Content(spec, _split(train, spec), _split(test, spec), kind)


def _at(examples: Examples, at: np.ndarray) -> Examples:
    groups = None if examples.groups is None else examples.groups[at]
    return Examples(examples.inputs[at], examples.targets[at], groups, examples.names)


def _task(targets: np.ndarray) -> str:
    if targets.ndim >= 3:
        return "segmentation"
    if targets.ndim == 2 and targets.shape[1] > 1:
        return "multilabel" if ((targets == 0) | (targets == 1)).all() else "regression"
    whole = targets.dtype.kind in "biu"
    return "classification" if whole else "regression"


def _classes(train: Examples, test: Examples) -> int:
    return max(int(train.targets.max()), int(test.targets.max()), len(train.names) - 1) + 1


def _natural(name: str) -> tuple[bool, int, str]:
    return not name.isdigit(), int(name) if name.isdigit() else 0, name


def _spec(train: Examples, classes: int | None, groups: tuple[str, ...]) -> Spec:
    """What is known of them; of images with mean and deviation of the training pixels."""
    shape, images = train.inputs.shape[1:], _image_shape(train.inputs)
    target_shape = train.targets.shape[1:] if train.targets.shape[1:] != (1,) else ()
    names = train.names if classes is not None and len(train.names) == classes else ()
    about: dict[str, Any] = {"target_shape": target_shape, "names": names, "groups": groups}
    if images is None:
        dtype = "float32" if train.inputs.dtype.kind in "fb" else "int64"
        return Spec(classes, shape, dtype=dtype, **about)
    white = 1.0 if train.inputs.dtype.kind == "f" else WHITE
    pixels = train.inputs if train.inputs.shape[1:] == images else _channels_last(train.inputs, images)
    flat = pixels.reshape(-1, images[2]).astype(np.float64) / white
    std = np.where(flat.std(axis=0) > 0, flat.std(axis=0), 1.0)
    return ImageSpec(classes, images, tuple(flat.mean(axis=0).tolist()), tuple(std.tolist()), **about)


def _image_shape(inputs: np.ndarray) -> tuple[int, int, int] | None:
    """(H, W, C) of what are images: bytes, or floats that are bytes / 255; None for other inputs."""
    if inputs.ndim not in (3, 4) or not inputs.size:
        return None
    few = inputs[:64].astype(np.float64)
    divided = inputs.dtype.kind == "f" and few.min() >= 0 and few.max() <= 1
    if not (inputs.dtype == np.uint8 or (divided and np.abs(few * WHITE - np.rint(few * WHITE)).max() < 0.01)):
        return None
    if inputs.ndim == 3:
        return (*inputs.shape[1:], 1)
    first, last = inputs.shape[1], inputs.shape[3]
    if last in CHANNELS or first not in CHANNELS:
        return inputs.shape[1:]
    return (inputs.shape[2], inputs.shape[3], first)


def _channels_last(inputs: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    return inputs[..., None] if inputs.ndim == 3 else inputs.transpose(0, 2, 3, 1).reshape(-1, *shape)


def _split(examples: Examples, spec: Spec) -> Split:
    groups = None
    if examples.groups is not None and spec.groups:
        place = {name: number for number, name in enumerate(spec.groups)}
        groups = np.array([place.get(name, -1) for name in examples.groups.tolist()], dtype=np.int64)
        groups = None if (groups < 0).any() else groups  # of a test set whose users are others
    targets = examples.targets.reshape(len(examples)) if examples.targets.shape[1:] == (1,) else examples.targets
    return Split(examples.inputs, targets, groups)


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
    images = {"images"} if isinstance(found.spec, ImageSpec) else set()
    cls.offers = frozenset(images | ({"groups"} if found.train.groups is not None else set()))
    return cls  # type: ignore[no-any-return]
