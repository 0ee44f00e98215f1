"""German sentences with their English translation, as prompts and answers.

Shapes: N sentences, T tokens.
"""

from __future__ import annotations

from typing import ClassVar, NoReturn

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.partition.base import Partition
from fedsam.data.spec import Spec
from fedsam.data.stored import Stored
from fedsam.data.tokens import answering
from fedsam.data.vocabulary import Vocabulary
from fedsam.errors import InputError
from fedsam.storage.text import read_text
from fedsam.tasks.base import Task

TO = "<to>"
"""Between a prompt and its answer."""
PIECE = "@@ "
"""How a part of a word ends that another one follows, as subword-nmt writes it."""

Pairs = list[tuple[str, str]]


class Translation(Stored):
    """IWSLT'14 German to English as fairseq's `prepare-iwslt14.sh` leaves it, a sentence in each line:

        <root>/iwslt14.tokenized.de-en/train.de, train.en, test.de, test.en

    The tokens are the parts of words in these files. The loss is that of the English tokens alone, given the German
    sentence and the English tokens before.
    """

    task: ClassVar[str | Task] = "sequence"
    offers: ClassVar[frozenset[str]] = frozenset({"tokens"})

    partition: Partition = key("iid", "how the training examples are divided among the clients", "centralised")
    length: int = key(160, "tokens of both sentences at most; what is longer is cut off", "convention", ge=3, le=10**5)
    vocabulary: int = key(20_000, "tokens that are known at most", "convention", ge=1, le=10**7)

    def read(self) -> tuple[Spec, Split, Split]:
        """The sentences.

        Raises:
            InputError: under "root": a file is missing or not UTF-8, or two of them differ in lines.
        """
        train, test = self._pairs("train"), self._pairs("test")
        known = Vocabulary((f"{german} {TO} {english}" for german, english in train), "words", self.vocabulary)
        form, names = (self.length,), tuple(name.replace(PIECE, "") for name in known.names)
        spec = Spec(len(known), form, dtype="int64", target_shape=form, vocabulary=len(known), names=names)
        return spec, self._split(train, known), self._split(test, known)

    def _pairs(self, which: str) -> Pairs:
        folder = self.folder() / "iwslt14.tokenized.de-en"
        sides = []
        for path in (folder / f"{which}.de", folder / f"{which}.en"):
            try:
                sides.append(read_text(path).splitlines())
            except OSError as error:
                self._refuse(f"{path.name} cannot be read: {error.strerror or error}")
            except ValueError as error:
                self._refuse(f"{path.name}: {error}")
        if len(sides[0]) != len(sides[1]):
            self._refuse(f"{which}.de has {len(sides[0])} lines, {which}.en has {len(sides[1])}")
        pairs = list(zip(*sides, strict=True))
        for row, (german, english) in enumerate(pairs, 1):
            if not german.strip() or not english.strip():
                self._refuse(f"{which}.{'en' if german.strip() else 'de'} has an empty line {row}")
        return pairs

    def _split(self, pairs: Pairs, known: Vocabulary) -> Split:
        made = [
            answering(prompt, known.encoded(english).tolist(), self.length)
            for german, english in pairs
            for prompt in [known.encoded(f"{german} {TO}").tolist()]
            if len(prompt) <= self.length  # else there would be no answer
        ]
        if not made:
            self._refuse(f"every prompt is longer than data.length = {self.length}")
        inputs, targets = (np.stack(each) for each in zip(*made, strict=True))
        return Split(inputs, targets).read_only()

    def _refuse(self, told: str) -> NoReturn:
        raise InputError("root", str(self.folder()), told)
