"""Index lists from a file: a published split, or one of your own."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from fedsam.config import key
from fedsam.data.partition.base import Assignment, Partition
from fedsam.errors import InputError

HOW = "`python -m fedsam.experiments.caldarola2022.splits` makes that of the FedSAM authors' lists"
"""What to do where a file is not there."""


class File(Partition):
    """The positions of each client's examples, read from a file. Not every example need be used.

    - `splits.npz:NAME`: array NAME, integers [clients, n], row k for client k;
    - `splits.json`: a list of lists, or an object from client number to list, taken in the order of the numbers;
    - `splits.json:NAME`: the same as member NAME of the file's object.

    A path that is not absolute is looked for from the current directory, then in the data sets' folder and in
    `<data set>/splits` below it.
    """

    split_file: str = key("", "index lists: PATH.npz:ARRAY, PATH.json or PATH.json:MEMBER", "must be given", path=True)
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
                client has none; or the file disagrees with `clients` or `samples_per_client`.
        """
        parts = self._read()
        if len(parts) != clients:
            self._refuse(f"holds {len(parts)} clients, not {clients}: set data.clients={len(parts)}")
        for client, part in enumerate(parts):
            self._check(client, part, len(labels))
        assignment = Assignment.of([part.astype(np.int64) for part in parts])
        self._check_disjoint(assignment)
        sizes_K = assignment.sizes()
        if samples_per_client is not None and (other := np.flatnonzero(sizes_K != samples_per_client)).size:
            allowed = f"client {other[0]} of {self.split_file} has {sizes_K[other[0]]} examples; leave it out"
            raise InputError("samples_per_client", samples_per_client, allowed)
        return assignment

    def _read(self) -> list[np.ndarray]:
        path, member = self._place()
        try:
            return self._npz(path, member) if path.suffix == ".npz" else self._json(path, member)
        except InputError:
            raise
        except (OSError, EOFError, ValueError, RecursionError, zipfile.BadZipFile, zlib.error) as error:
            self._refuse(f"cannot be read: {error}")

    def _place(self) -> tuple[Path, str | None]:
        """Where the file is, and what is named in it."""
        form = re.fullmatch(r"(?P<path>.+\.(npz|json))(:(?P<member>.+))?", self.split_file)
        if form is None:
            self._refuse("must be PATH.npz:ARRAY, PATH.json or PATH.json:MEMBER")
        tried = list(dict.fromkeys((folder / Path(form["path"]).expanduser()).absolute() for folder in self._folders))
        for path in tried:
            if path.is_file():
                return path, form["member"]
        self._refuse(f"there is no file {' or '.join(map(str, tried))}; {HOW}")

    def _npz(self, path: Path, member: str | None) -> list[np.ndarray]:
        if not zipfile.is_zipfile(path):
            self._refuse("is no .npz archive")
        with np.load(path, allow_pickle=False) as arrays:
            if member not in arrays.files:
                self._refuse(f"must name one of the arrays of {path.name} after a colon: {', '.join(arrays.files)}")
            table = arrays[member]
        if table.ndim != 2 or table.dtype.kind not in "iu":
            found = f"{table.dtype} {list(table.shape)}"
            self._refuse(f"must be integers [clients, n], not {found}; lists of unequal length fit in a .json")
        return list(table)

    def _json(self, path: Path, member: str | None) -> list[np.ndarray]:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        if member is not None:
            if not isinstance(found, dict) or member not in found:
                there = ", ".join(found) if isinstance(found, dict) else "none: it is no object"
                self._refuse(f"must name one of the members of {path.name} after the colon; there are {there}")
            found = found[member]
        if isinstance(found, dict):
            named = [name for name in found if not re.fullmatch(r"[0-9]+", name)]
            if named:
                choice = f"choose a member with {path.name}:MEMBER"
                self._refuse(f"must map client numbers to lists, {named[0]!r} is no number; or {choice}")
            found = [found[name] for name in sorted(found, key=int)]
        if not isinstance(found, list):
            self._refuse("must hold a list of lists, or an object from client number to list")
        for client, part in enumerate(found):
            if not isinstance(part, list):
                self._refuse(f"client {client} must have a list of integers, not {json.dumps(part)[:40]}")
            strange = [i for i in part if type(i) is not int]
            if strange:
                self._refuse(f"client {client} must have integers only, not {json.dumps(strange[0])[:40]}")
        # As objects, so that a number of any size reaches the range check.
        return [np.array(part, dtype=object) for part in found]

    def _check(self, client: int, part: np.ndarray, examples: int) -> None:
        if len(part) == 0:
            self._refuse(f"client {client} has no examples")
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
