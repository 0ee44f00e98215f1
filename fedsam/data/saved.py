"""Hugging Face data sets that were saved to disk."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fedsam.config import key
from fedsam.data.arrays import of_arrays
from fedsam.data.base import Split
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
        found = _loaded(expanded(self.folder, "folder"), self.folder)
        train, test = (self._split(found, name) for name in (self.train_split, self.test_split))
        words, targets = self._targets(train, test)
        inputs = [part[self.input_column] for part in (train, test)]
        kind = type(train.features[self.input_column]).__name__
        groups: list[Any] = [None, None]
        if self.client_column:
            groups = [part[self.client_column][:] for part in (train, test)]
        try:
            if kind == "Image":
                return self._images(train, test, targets, words, groups)
            if isinstance(inputs[0][0], str):
                known = Vocabulary(inputs[0], self.tokens, self.vocabulary)
                return self._texts(known, inputs, targets, words, groups)
            parts: list[dict[str, np.ndarray]] = []
            for column, target, owners in zip(inputs, targets, groups, strict=True):
                parts.append({"inputs": as_array(column[:]), "targets": target})
                parts[-1] |= {"clients": np.array(owners)} if owners is not None else {}
            spec, *splits = of_arrays(*parts)
        except (Unfit, ValueError) as error:
            self._refuse(f"column {self.input_column!r}: {error}")
        return spec, splits[0], splits[1]
