"""Tables in files, CSV or Parquet, column by column, with the row that a message names.

Shapes: N rows.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from fedsam.errors import InputError
from fedsam.storage.text import must_be_file, read_text

TRAIN, TEST = ("train", "training", "0"), ("test", "testing", "val", "valid", "validation", "dev", "1")
"""What a column that says the split calls them."""
SHOWN = 30  # columns in a message


class TableFile:
    """A table. Rows are counted from 1, the head of a CSV file being the first.

    Args:
        path: of the file, for messages.
        columns: by name.
        key: that named it.
        given: its value.
    """

    def __init__(self, path: Path, columns: Mapping[str, Sequence[Any]], first: int, key: str, given: str) -> None:
        self.path, self.columns = path, columns
        self.rows = len(next(iter(columns.values()), ()))
        self._first, self._key, self._given = first, key, given

    def row(self, at: int) -> int:
        """The number of a row by its place among the examples."""
        return self._first + at

    @property
    def row_names(self) -> tuple[str, ...]:
        """What messages call the rows."""
        return tuple(f"row {self.row(at)} of {self.path.name}" for at in range(self.rows))

    def refuse(self, told: str) -> NoReturn:
        """Raises:
        InputError: under the key that named the file.
        """
        raise InputError(self._key, self._given, f"{self.path.name}{'' if told.startswith(':') else ' '}{told}")

    def texts(self, column: str) -> list[str]:
        """A column as texts.

        Raises:
            InputError: there is no such column, or a cell is empty.
        """
        found = self._column(column)
        for at, cell in enumerate(found):
            if cell is None or cell == "":
                self.refuse(f"has an empty {column!r} in row {self.row(at)}")
        return [str(cell) for cell in found]

    def numbers(self, column: str) -> np.ndarray:
        """A column as finite numbers, float64 [N].

        Raises:
            InputError: there is no such column, or a cell is no number.
        """
        cells = self._column(column)
        try:
            found = np.array(cells, dtype=np.float64)
        except (ValueError, TypeError):
            found = np.array([np.nan])
        if not np.isfinite(found).all():
            at, cell = next((at, cell) for at, cell in enumerate(cells) if not _is_number(cell))
            self.refuse(f"has {cell!r} as {column!r} in row {self.row(at)}, must be a number")
        return found

    def classes(self, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
        """A column as classes, int64 [N], and their names: whole numbers from 0 as they are, without names; anything
        else is numbered in the order of the alphabet.

        Raises:
            InputError: there is no such column, or a cell is empty.
        """
        cells = self.texts(column)
        if all(cell.isdecimal() and cell.isascii() for cell in cells):
            return np.array(cells, dtype=np.int64), ()
        known = sorted(set(cells))
        place = {name: at for at, name in enumerate(known)}
        return np.array([place[cell] for cell in cells], dtype=np.int64), tuple(known)

    def tests(self, column: str) -> np.ndarray:
        """Which rows are for test, bool [N], by a column that says so.

        Raises:
            InputError: it says something else, or there are no rows of one of the two.
        """
        cells = [cell.strip().lower() for cell in self.texts(column)]
        for at, cell in enumerate(cells):
            if cell not in TRAIN + TEST:
                self.refuse(f"has {cell!r} as {column!r} in row {self.row(at)}, must be train or test")
        found = np.array([cell in TEST for cell in cells], dtype=bool)
        for which, none in (("test", not found.any()), ("train", found.all())):
            if none:
                self.refuse(f"has no row that is {which!r} in column {column!r}")
        return found

    def _column(self, column: str) -> Sequence[Any]:
        if column not in self.columns:
            there = list(self.columns)
            more = f", ... ({len(there)} in all)" if len(there) > SHOWN else ""
            self.refuse(f"has no column {column!r}; it has {', '.join(there[:SHOWN])}{more}")
        return self.columns[column]


def _is_number(cell: Any) -> bool:
    try:
        return math.isfinite(float(cell))
    except (ValueError, TypeError):
        return False


def table_files(paths: Sequence[Path], key: str, given: str, columns: tuple[str, ...] = ()) -> TableFile:
    """One table of several files with the same columns, one after the other; see `table_file`."""
    tables = [table_file(path, key, given, columns) for path in paths]
    first = tables[0]
    for table in tables[1:]:
        if set(table.columns) != set(first.columns):
            table.refuse(f"has other columns than {first.path.name}")
    if len(tables) == 1:
        return first
    joined = {name: [cell for table in tables for cell in table.columns[name]] for name in first.columns}
    return TableFile(first.path, joined, first.row(0), key, given)


def table_file(path: Path, key: str, given: str, columns: tuple[str, ...] = ()) -> TableFile:
    """A table in a .csv, .tsv or .parquet file; files that have not changed are read once in a process.

    Args:
        key: that named it.
        given: its value.
        columns: of a Parquet file, that are read if they are there; none = all.

    Raises:
        InputError: under `key`: it is missing, damaged, no table, or not UTF-8.
    """
    try:
        must_be_file(path)
        about = path.stat()
        found = _read(path, about.st_size, about.st_mtime_ns, columns)
    except FileNotFoundError:
        raise InputError(key, given, f"there is no file {path}") from None
    except OSError as error:
        raise InputError(key, given, f"{path.name} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(key, given, f"{path.name}: {error}") from None
    table = TableFile(path, found, 1 if _parquet(path) else 2, key, given)
    if not table.rows:
        table.refuse("has no rows")
    return table


def _parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


@lru_cache(maxsize=4)
def _read(path: Path, size: int, changed: int, columns: tuple[str, ...]) -> dict[str, Sequence[Any]]:
    return _of_parquet(path, columns) if _parquet(path) else _of_csv(path)


def _of_csv(path: Path) -> dict[str, Sequence[Any]]:
    text = read_text(path)
    first = text.partition("\n")[0]
    rows = csv.reader(text.splitlines(), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        head = [cell.strip() for cell in next(rows, [])]
        if not any(head):
            raise ValueError("is empty, must begin with the names of its columns")
        if len(set(head)) < len(head):
            twice = next(name for name in head if head.count(name) > 1)
            raise ValueError(f"has two columns {twice!r}")
        cells: list[list[str]] = []
        for number, row in enumerate(rows, 2):
            if len(row) != len(head):
                if not row:
                    raise ValueError(f"row {number} is empty")
                raise ValueError(f"row {number} has {len(row)} cells, and the head {len(head)}")
            cells.append(row)
    except csv.Error as error:
        raise ValueError(f"line {rows.line_num} is no line of a table ({error})") from None
    columns = zip(*cells, strict=True) if cells else ([] for _ in head)
    return {name: [cell.strip() for cell in column] for name, column in zip(head, columns, strict=True)}


def _of_parquet(path: Path, columns: tuple[str, ...]) -> dict[str, Sequence[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            there = [name for name in columns if name in file.schema_arrow.names]
            table = file.read(columns=there or None if columns else None)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"is no Parquet file that can be read ({str(error).splitlines()[0]})") from None
    return {name: table[name].to_pylist() for name in table.column_names}
