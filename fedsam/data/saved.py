"""Hugging Face data sets that were saved to disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np

from fedsam.border.extra import needed
from fedsam.config import key
from fedsam.data.arrays import in_a_row, of_arrays
from fedsam.data.base import Split
from fedsam.data.group_names import numbered
from fedsam.data.map_style import INPUTS, TARGETS
from fedsam.data.plain_array import Unfit, as_array
from fedsam.data.spec import Spec
from fedsam.data.stored import Partitioned
from fedsam.data.vocabulary import Unit, Vocabulary
from fedsam.errors import InputError
from fedsam.storage.paths import expanded


class Saved(Partitioned):
    """A folder that `DatasetDict.save_to_disk` of the `datasets` library wrote (`pip install fedsam[hub]`):

        imdb/dataset_dict.json
        imdb/train/dataset_info.json, data-00000-of-00001.arrow, state.json
        imdb/test/...

    or one of Parquet files, as data sets of the hub lie there, `cifar10/train-00000-of-00001.parquet` or in
    `cifar10/data/`. `data.name=hf:FOLDER` is the same with `data.folder=FOLDER`.

    Inputs are one column: images; texts, tokens of which there are `data.length`, cut off or filled up at the end; or
    numbers, single or in lists of one length. Targets are another: classes, numbers in place of which the data set
    may have names, texts, which are numbered in the order of the alphabet, or fractions for `task.name=regression`.
    """

    folder: str = key("", "what save_to_disk wrote; required", "no default", path=True)
    input_column: str = key("image", "column of the inputs", "convention")
    label_column: str = key("label", "column of the targets", "convention")
    client_column: str = key("", "column of the users or domains; empty = there is none", "off")
    train_split: str = key("train", "what the training examples are called", "convention")
    test_split: str = key("test", "what the test examples are called", "convention")
    size: int | None = key(None, "resize every image to size x size; none = they must agree", "off", ge=1, le=4096)
    length: int = key(128, "tokens of a text", "convention", ge=1, le=10**5)
    tokens: Unit = key("words", "what a token of a text is: a character, or a word between white space", "convention")
    vocabulary: int = key(10_000, "tokens that are known at most, the most frequent", "convention", ge=1, le=10**7)

    offers: ClassVar[frozenset[str]] = frozenset({"images", "groups", "tokens"})

    def read(self) -> tuple[Spec, Split, Split]:
        """Both splits.

        Raises:
            InputError: `datasets` is not installed, or the folder is none of its, or lacks a split or a column.
        """
        if not self.folder:
            raise InputError("folder", InputError.ABSENT, "must name a folder that save_to_disk wrote")
        found = _loaded(expanded(self.folder, "folder"), self._refuse)
        train, test = (self._part(found, name) for name in (self.train_split, self.test_split))
        words, targets = self._targets(train, test)
        owners = [part[self.client_column][:] if self.client_column else None for part in (train, test)]
        inputs = [part[self.input_column][:] for part in (train, test)]
        if not all(inputs):
            self._refuse("one of its splits is empty")
        more: dict[str, Any] = {}
        if isinstance(inputs[0][0], str):
            known = Vocabulary(inputs[0], self.tokens, self.vocabulary)
            inputs, more = [known.filled(texts, self.length) for texts in inputs], {"vocabulary": len(known)}
        parts = []
        for which, column, target, owner in zip((train, test), inputs, targets, owners, strict=True):
            parts.append({"inputs": self._array(column, str(which.split)), "targets": in_a_row(target)})
            parts[-1] |= {} if owner is None else {"clients": np.array(list(map(str, owner)))}
        try:
            spec, *splits = of_arrays(*parts)
        except ValueError as error:
            self._refuse(str(error))
        if words and spec.target_shape == ():
            more |= {"names": words, "classes": len(words)}
        return replace(spec, **more), splits[0], splits[1]

    def _part(self, found: Any, name: str) -> Any:
        """A split, with all columns that are asked for; a usual name stands for one of which nothing was said."""
        if name not in found:
            self._refuse(f"has no split {name!r}; it has {', '.join(found)}")
        there = found[name].column_names
        part = found[name]
        for field, usual in (("input_column", INPUTS), ("label_column", TARGETS)):
            asked = getattr(self, field)
            other = next((column for column in usual if column in there), None)
            if asked not in there and field not in self.model_fields_set and other is not None:
                part = part.rename_column(other, asked)
        for column in (self.input_column, self.label_column, *([self.client_column] if self.client_column else [])):
            if column not in part.column_names:
                self._refuse(f"has no column {column!r} in {name!r}; it has {', '.join(there)}")
        return part

    def _targets(self, train: Any, test: Any) -> tuple[tuple[str, ...], list[np.ndarray]]:
        """The names of classes, if they have any, and the targets of both parts."""
        columns = [part[self.label_column][:] for part in (train, test)]
        if any(isinstance(target, str) for column in columns for target in column):
            names, numbers = numbered(*columns)
            return names, [part for part in numbers if part is not None]
        words = tuple(getattr(train.features[self.label_column], "names", None) or ())
        try:
            return words, [as_array(column) for column in columns]
        except Unfit as error:
            self._refuse(f"column {self.label_column!r} has targets that are {error}")

    def _array(self, column: Any, which: str) -> np.ndarray:
        if self.size is not None and hasattr(column[0], "resize") and not isinstance(column[0], np.ndarray):
            from PIL import Image

            column = [image.resize((self.size, self.size), Image.Resampling.BILINEAR) for image in column]
        try:
            return as_array(column)
        except Unfit as error:
            hint = "; data.size=N resizes images to N x N" if "different shapes" in str(error) else ""
            self._refuse(f"column {self.input_column!r} of {which!r} has inputs that are {error}{hint}")

    def _refuse(self, told: str) -> NoReturn:
        raise InputError("folder", self.folder, told)


def _loaded(folder: Path, refuse: Callable[[str], NoReturn]) -> Any:
    """The splits by name."""
    if not folder.is_dir():
        refuse("there is no such folder")
    shards = _shards(folder)
    if not (folder / "dataset_dict.json").is_file() and not shards:
        refuse("has no dataset_dict.json in it, which DatasetDict.save_to_disk writes, and no SPLIT-*.parquet")
    try:
        datasets = needed("datasets", "folder", str(folder))
    except InputError as error:
        refuse(error.allowed)
    try:
        if not shards:
            return datasets.load_from_disk(str(folder))
        from pyarrow import parquet

        # in memory: the library's own reader writes a copy of everything to its cache
        return {name: datasets.Dataset(parquet.ParquetDataset(files).read()) for name, files in shards.items()}
    except Exception as error:  # of Arrow, of JSON, of files
        refuse(f"cannot be read ({' '.join(str(error).split())[:200]})")


def _shards(folder: Path) -> dict[str, list[Path]]:
    """The Parquet files of each split, as data sets of the hub lie: `train-00000-of-00002.parquet`, also in `data/`."""
    found: dict[str, list[Path]] = {}
    for file in sorted([*folder.glob("*.parquet"), *folder.glob("data/*.parquet")]):
        found.setdefault(re.split(r"-\d+-of-\d+", file.stem)[0], []).append(file)
    return found
