"""Index lists from a file: a published split, or one of your own."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path
from typing import ClassVar, NoReturn

import numpy as np

from fedsam.config import key
from fedsam.data.partition.base import Assignment, Partition
from fedsam.data.partition.lists import Wrong, read_lists
from fedsam.errors import InputError
from fedsam.storage.paths import expanded

FORM = r"(?P<path>.+\.(npz|(json|csv|txt)(\.gz)?))(:(?P<member>.+))?"
HOW = "`python -m fedsam.experiments.caldarola2022.splits` makes that of the FedSAM authors' lists"
"""What to do where a file is not there."""


class File(Partition):
    """The positions of each client's examples, read from a file. Not every example need be used.

    - `splits.npz:NAME`: array NAME, integers [clients, n], row k for client k;
    - `splits.npz`: an array of integers [n] for each client, named by its number (`0`, `client_0`, `arr_0`), taken in
      the order of the numbers; `splits.npz:train_` only those whose names begin so;
    - `splits.json`: a list of lists, or an object from client number to list, taken in the order of the numbers;
    - `splits.json:NAME`: the same as member NAME of the file's object;
    - `splits.csv`: a row for each example, its position and its client; with other columns, a head that names these;
    - `splits.txt`: `{0: [1, 2] 1: [0, 3]}`, as FedML's net_dataidx_map.txt.

    Positions count the training examples from 0 on; with `data.unseen` those that it leaves, in their order.

    All but .npz may be packed as .gz. A client without examples is never trained. Pickles are not read: they can run
    code.

    A path that is not absolute is looked for from the current directory, then in the data sets' folder and in
    `<data set>/splits` below it.
    """

    positions: ClassVar[bool] = True

    split_file: str = key(
        "", "index lists: PATH.npz:ARRAY, PATH.json, PATH.json:MEMBER, PATH.csv, ...", "must be given", path=True
    )
    _folders: tuple[Path, ...] = (Path(),)

    def looking_in(self, *folders: Path) -> File:
        """The same lists, also looked for in these folders.

        Raises:
            InputError: the file is in none of these places.
        """
        other = self.model_copy()
        other._folders = (Path(), *folders)
        other._place()
        return other

    def assign(
        self, labels: np.ndarray, clients: int, samples_per_client: int | None, rng: np.random.Generator
    ) -> Assignment:
        """Divide as the file says; nothing is random.

        Raises:
            InputError: the file is missing or not of these forms; a position is outside the data set or named twice; a
                client is there twice, or none has an example; or the file disagrees with `clients` or with
                `samples_per_client`.
        """
        parts = self._read(len(labels))
        if len(parts) != clients:
            self._refuse(f"holds {len(parts)} clients, not {clients}: set data.clients={len(parts)}")
        if not any(map(len, parts)):
            self._refuse("no client has an example")
        for client, part in enumerate(parts):
            self._check(client, part, len(labels))
        assignment = Assignment.of([part.astype(np.int64) for part in parts])
        self._check_disjoint(assignment)
        sizes_K = assignment.sizes()
        if samples_per_client is not None and (other := np.flatnonzero(sizes_K != samples_per_client)).size:
            allowed = f"client {other[0]} of {self.split_file} has {sizes_K[other[0]]} examples; leave it out"
            raise InputError("samples_per_client", samples_per_client, allowed)
        return assignment

    def _read(self, examples: int) -> list[np.ndarray]:
        path, member = self._place()
        try:
            return read_lists(path, member, examples)
        except Wrong as error:
            self._refuse(str(error))
        except (OSError, EOFError, ValueError, RecursionError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
            self._refuse(f"cannot be read: {str(error) or type(error).__name__}")

    def _place(self) -> tuple[Path, str | None]:
        """Where the file is, and what is named in it."""
        form = re.fullmatch(FORM, self.split_file, re.IGNORECASE)
        if form is None:
            pickled = re.search(r"\.(pkl|pickle|pt|pth)$", self.split_file, re.IGNORECASE)
            never = "; pickles are never read, since they can run code" if pickled else ""
            self._refuse(f"must be PATH.npz:ARRAY, PATH.json or PATH.json:MEMBER, PATH.csv or PATH.txt{never}")
        place = expanded(form["path"], "split_file")
        tried = list(dict.fromkeys((folder / place).absolute() for folder in self._folders))
        try:
            for path in tried:
                if path.is_file():
                    return path, form["member"]
        except OSError as error:
            self._refuse(f"cannot be read: {error.strerror}")
        self._refuse(f"there is no file {' or '.join(map(str, tried))}; {HOW}")

    def _check(self, client: int, part: np.ndarray, examples: int) -> None:
        outside = part[(part < 0) | (part >= examples)]
        if len(outside):
            there = f"the data set has {examples} examples (0 to {examples - 1})"
            self._refuse(f"client {client} has index {outside[0]}, {there}")

    def _check_disjoint(self, assignment: Assignment) -> None:
        order = np.argsort(assignment.index, kind="stable")
        twice = np.flatnonzero(np.diff(assignment.index[order]) == 0)
        if len(twice):
            owner = np.repeat(np.arange(assignment.clients), assignment.sizes())[order]
            first, second = owner[twice[0]], owner[twice[0] + 1]
            who = f"twice to client {first}" if first == second else f"to client {first} and to client {second}"
            self._refuse(f"gives index {assignment.index[order][twice[0]]} {who}")

    def _refuse(self, allowed: str) -> NoReturn:
        raise InputError("split_file", self.split_file or InputError.ABSENT, allowed)
