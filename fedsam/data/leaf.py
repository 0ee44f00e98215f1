"""Data sets in the layout of the LEAF benchmark: JSON by user."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np

from fedsam.config import key
from fedsam.data.base import Split
from fedsam.data.group_names import numbered
from fedsam.data.images.listed import Listed
from fedsam.data.images.listing import Files, Listing, listed
from fedsam.data.images.sizes import Size, side_lengths
from fedsam.data.images.vision import image_spec
from fedsam.data.partition.base import Partition
from fedsam.data.spec import Spec
from fedsam.data.tokens import in_blocks
from fedsam.data.user_files import Part, users_of
from fedsam.data.vocabulary import Unit, Vocabulary
from fedsam.errors import InputError

WHITE = 255


class Leaf(Listed):
    """Users and what each of them has:

        <root>/train/all_data_0_niid_0_keep_0_train_9.json, ...
        <root>/test/all_data_0_niid_0_keep_0_test_9.json, ...

        {"users": ["f0", "f1"], "num_samples": [2, 1],
         "user_data": {"f0": {"x": [[0.0, 1.0, ...], ...], "y": [6, 3]}, "f1": {"x": [...], "y": [...]}}}

    Every user is a client (`data.partition=natural`). An x is

    - a list of height x width pixels from 0 to 1 (`data.pixel_size`; FEMNIST), an image;
    - a list of other numbers, as it is;
    - a text, with `data.image_folder` the name of an image file in it (CelebA);
    - a text otherwise, tokens of which there are `data.length` (Shakespeare), for `task.name=sequence` with the next
      one as target of each, the last of them y; of a list of texts it is that at `data.text_place` (Sent140).

    A y is a class, a whole number from 0, or a text, which is numbered in the order of the alphabet.

    Source: Caldas et al., "LEAF: a benchmark for federated settings", 2018.
    """

    partition: Partition = key("natural", "how the training examples are divided among the clients", "LEAF")
    pixel_size: Size = key("28x28", "height and width of images that are lists of pixels", "FEMNIST")
    image_folder: str = key("", "where the images are that an x names, from `root` on", "off", path=True)
    length: int = key(80, "tokens of an x that is a text", "Shakespeare; 25 in Sent140", ge=1, le=10**5)
    tokens: Unit = key("characters", "what a token is: a character, or a word between white space", "Shakespeare")
    vocabulary: int = key(10_000, "tokens that are known at most, the most frequent", "convention", ge=1, le=10**7)
    text_place: int = key(4, "which text it is of a list of them, from 0", "Sent140", ge=0, le=1000)

    offers: ClassVar[frozenset[str]] = frozenset({"images", "groups", "tokens"})

    def read(self) -> tuple[Spec, Split, Split]:
        """Both folders.

        Raises:
            InputError: files are missing or damaged, or a user lacks something.
        """
        train, test = self._parts()
        if train.kind == "str" and self.image_folder:
            return super().read()
        if train.kind != "list":
            return self._texts(train, test)
        names, groups = numbered(train.users, test.users)
        classes, words, labels = _classes(train.y, test.y)
        more = {"names": words, "groups": names}
        inputs = [np.concatenate(part.x) for part in (train, test)]
        sides = side_lengths(self.pixel_size) or (0, 0)
        if inputs[0].shape[1] != inputs[1].shape[1]:
            self.refuse(f"x has {inputs[0].shape[1]} numbers in train/ and {inputs[1].shape[1]} in test/")
        spec = Spec(classes, inputs[0].shape[1:], **more)  # type: ignore[arg-type]
        if inputs[0].shape[1] == sides[0] * sides[1]:
            inputs = [
                self._bytes(x, part.users).reshape(-1, *sides, 1) for x, part in zip(inputs, (train, test), strict=True)
            ]
            spec = image_spec(inputs[0], classes, **more)
        train_split, test_split = (
            Split(x, y, group).read_only() for x, y, group in zip(inputs, labels, groups, strict=True)
        )
        return spec, train_split, test_split

    def listing(self) -> Listing | None:
        """The images that are named, if any are."""
        train, test = self._parts()
        if train.kind != "str" or not self.image_folder:
            return None
        names, (groups, _) = numbered([*train.users, *test.users], [])
        classes, words, (labels, _) = _classes([*train.y, *test.y], [])
        folder = Path(self.image_folder)
        files = Files(self.folder(), tuple(str(folder / x) for x in [*train.x, *test.x]))
        tests = np.repeat([False, True], [len(train.y), len(test.y)])
        return Listing(files, *listed(files, tests, labels, groups), classes, words, names)

    def _texts(self, train: Part, test: Part) -> tuple[Spec, Split, Split]:
        """Texts as tokens."""
        x_train, x_test = self._chosen(train), self._chosen(test)
        following = self.learnt.name == "sequence"
        letters = train.y if following or self._letters(train, test) else []
        known = Vocabulary([*x_train, *map(str, letters)], self.tokens, self.vocabulary)
        names, groups = numbered(train.users, test.users)
        inputs = [known.filled(x, self.length) for x in (x_train, x_test)]
        about = {"dtype": "int64", "vocabulary": len(known), "groups": names}
        if following:
            followed = [self._followed(x, part.y, known) for x, part in ((x_train, train), (x_test, test))]
            inputs, targets = ([part[at] for part in followed] for at in (0, 1))
            about |= {"target_shape": (self.length,), "names": known.names}
            classes = len(known)
        elif letters:
            targets = [known.filled(list(map(str, part.y)), 1)[:, 0] for part in (train, test)]
            about |= {"names": known.names}
            classes = len(known)
        else:
            classes, words, targets = _classes(train.y, test.y)
            about |= {"names": words}
        spec = Spec(classes, (self.length,), **about)  # type: ignore[arg-type]
        both = [Split(x, y, group).read_only() for x, y, group in zip(inputs, targets, groups, strict=True)]
        return spec, both[0], both[1]

    def _followed(self, texts: list[str], after: list[Any], known: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
        """The last `length` tokens of each text, and the next one of each of them, int64 [N, T]."""
        tokens = [np.concatenate([known.encoded(x), known.encoded(str(y))]) for x, y in zip(texts, after, strict=True)]
        rows = [in_blocks(one[-self.length - 1 :], self.length) for one in tokens if len(one) > 1]
        if len(rows) < len(tokens):
            self.refuse("an x has no token")
        inputs, targets = (np.concatenate(part) for part in zip(*rows, strict=True))
        return inputs, targets

    def _letters(self, train: Part, test: Part) -> bool:
        """Whether every y is one token, as those of the x."""
        return self.tokens == "characters" and all(isinstance(y, str) and len(y) == 1 for y in [*train.y, *test.y])

    def _chosen(self, part: Part) -> list[str]:
        """The text of each example."""
        if part.kind == "str":
            return part.x
        for user, x in zip(part.users, part.x, strict=True):
            if len(x) <= self.text_place:
                self.refuse(f"user {user!r} has an x of {len(x)} texts, and data.text_place = {self.text_place}")
        return [x[self.text_place] for x in part.x]

    def _parts(self) -> tuple[Part, Part]:
        try:
            return users_of(self.folder())
        except OSError as error:
            self.refuse(f"cannot be read: {error.strerror or error}")
        except ValueError as error:
            self.refuse(str(error))

    def _bytes(self, pixels_ND: np.ndarray, users: list[str]) -> np.ndarray:
        """Pixels from 0 to 1 as bytes, uint8 [N, D]."""
        wrong_N = ((pixels_ND < 0) | (pixels_ND > 1)).any(axis=1)
        if wrong_N.any():
            at = int(np.flatnonzero(wrong_N)[0])
            told = f"from {pixels_ND[at].min():g} to {pixels_ND[at].max():g}, must be from 0 to 1"
            self.refuse(f"user {users[at]!r} has an x with pixels {told}")
        found: np.ndarray = np.rint(pixels_ND * WHITE).astype(np.uint8)
        return found

    def refuse(self, told: str) -> NoReturn:
        """Raises:
        InputError: under "root".
        """
        raise InputError("root", str(self.folder()), told)


def _classes(*each: list[Any]) -> tuple[int, tuple[str, ...], list[np.ndarray]]:
    """How many classes there are, their names, and the class of each example of each part."""
    every = [one for part in each for one in part]
    if all(type(one) is int and one >= 0 for one in every):
        return max(every) + 1, (), [np.array(part, dtype=np.int64) for part in each]
    names, numbers = numbered(*each)
    return len(names), names, [part for part in numbers if part is not None]
