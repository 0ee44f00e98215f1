"""Texts in files, for next-token prediction."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal, NoReturn

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.group_names import numbered
from fedsam.data.images.parquet_files import Stamp, stamp
from fedsam.data.partition.base import Partition
from fedsam.data.spec import Spec
from fedsam.data.stored import Stored
from fedsam.data.tokens import in_blocks
from fedsam.data.vocabulary import Unit, Vocabulary
from fedsam.errors import InputError
from fedsam.storage.text import read_text
from fedsam.tasks.base import Task

TEST_SHARE = 0.1

Texts = tuple[tuple[str, str], ...]
"""The name of each file's group, and its text."""


class Text(Stored):
    """Text files, UTF-8, of which each is a client (`data.partition=natural`):

        <root>/train/macbeth.txt        <root>/test/macbeth.txt
        <root>/train/hamlet.txt         <root>/test/hamlet.txt

    or without these two folders `<root>/*.txt`, of each of which the last tenth is for test. A group is a file's name
    without its ending, in folders below with those of the folders. With `data.examples=blocks` a text is cut into
    blocks of `data.length` tokens; with `lines` every line is an example, cut off or filled up to that length. The
    vocabulary is that of the training texts.
    """

    task: ClassVar[str | Task] = "sequence"
    offers: ClassVar[frozenset[str]] = frozenset({"tokens", "groups"})

    partition: Partition = key("natural", "how the training examples are divided among the clients", "LEAF, 2018")
    examples: Literal["blocks", "lines"] = key(
        "blocks", "what an example is: a block of a text, or a line", "convention"
    )
    length: int = key(80, "tokens of an example", "McMahan et al. 2017, Shakespeare", ge=1, le=10**5)
    tokens: Unit = key("characters", "what a token is: a character, or a word between white space", "convention")
    vocabulary: int = key(
        10_000, "tokens that are known at most, the most frequent", "McMahan et al. 2018", ge=1, le=10**7
    )

    def read(self) -> tuple[Spec, Split, Split]:
        """The files.

        Raises:
            InputError: under "root": there are none, one is not UTF-8, or has no text.
        """
        root = self.folder()
        try:
            places = [root / "train", root / "test"] if (root / "train").is_dir() else [root]
            files = [tuple(sorted(_texts(place))) for place in places]
            for place, found in zip(places, files, strict=True):
                if not found:
                    self._refuse(f"there is no *.txt in {place.name}/; see `data.name=text`")
            read = [_read(place, found, stamp(found)) for place, found in zip(places, files, strict=True)]
        except OSError as error:
            self._refuse(f"cannot be read: {error.strerror or error}")
        except ValueError as error:
            self._refuse(str(error))
        train, test = read if len(read) == 2 else self._cut(read[0])
        known = Vocabulary((text for _, text in train), self.tokens, self.vocabulary)
        names, _ = numbered([name for name, _ in train], [name for name, _ in test])
        form = (self.length,)
        spec = Spec(
            len(known), form, dtype="int64", target_shape=form, vocabulary=len(known), names=known.names, groups=names
        )
        parts = [self._split(part, known, names) for part in (train, test)]
        for which, part in zip(("training", "test"), parts, strict=True):
            if not len(part):
                self._refuse(f"no {which} text has two tokens")
        return spec, parts[0], parts[1]

    def _cut(self, texts: Texts) -> tuple[Texts, Texts]:
        """All but the last tenth of each text, and that; by lines where examples are lines."""
        train, test = [], []
        for name, text in texts:
            parts = text.splitlines(keepends=True) if self.examples == "lines" else list(text)
            cut = len(parts) - max(1, round(TEST_SHARE * len(parts)))
            train.append((name, "".join(parts[:cut])))
            test.append((name, "".join(parts[cut:])))
        return tuple(train), tuple(test)

    def _split(self, texts: Texts, known: Vocabulary, names: tuple[str, ...]) -> Split:
        inputs, targets, groups = [], [], []
        place = {name: at for at, name in enumerate(names)}
        for name, text in texts:
            pieces = text.splitlines() if self.examples == "lines" else [text]
            for piece in pieces:
                tokens = known.encoded(piece)
                tokens = tokens[: self.length + 1] if self.examples == "lines" else tokens
                x, y = in_blocks(tokens, self.length)
                inputs.append(x)
                targets.append(y)
                groups.append(np.full(len(x), place[name], dtype=np.int64))
        return Split(np.concatenate(inputs), np.concatenate(targets), np.concatenate(groups)).read_only()

    def _refuse(self, told: str) -> NoReturn:
        raise InputError("root", str(self.folder()), told)


def _texts(folder: Path) -> list[Path]:
    return [
        path for path in folder.rglob("*.txt") if not any(part[0] == "." for part in path.relative_to(folder).parts)
    ]


@lru_cache(maxsize=4)
def _read(folder: Path, files: tuple[Path, ...], changed: Stamp) -> Texts:
    found = []
    for path in files:
        name = path.relative_to(folder)
        try:
            text = read_text(path)
        except ValueError as error:
            raise ValueError(f"{path.relative_to(folder.parent)}: {error}") from None
        if not text.strip():
            raise ValueError(f"{path.relative_to(folder.parent)} has no text")
        found.append((str(name.with_suffix("")), text))
    return tuple(found)
