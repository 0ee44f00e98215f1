"""Labelled images in Parquet files in the Hugging Face layout, one file or several shards of one data set."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fedsam.data.base import Split
from fedsam.data.images.decode import decode_kept
from fedsam.errors import InputError
from fedsam.storage.paths import expanded
from fedsam.storage.text import must_be_file

log = logging.getLogger("fedsam")

Stamp = tuple[tuple[str, int, int], ...]

SHARD = re.compile(r"(?P<name>.*)-(?P<number>\d+)-of-(?P<total>\d+)\.parquet", re.IGNORECASE)
PART = re.compile(r"(?<![a-z])(train|training|test|testing|validation|valid|val|dev|eval)(?![a-z])")
WORDS = {
    "train": (("train", "training"),),
    "test": (("test", "testing"), ("validation", "valid", "val", "dev", "eval")),
}
"""By which a file in a folder is one of training or of test; the second only where there is none of the first."""


def shards(given: str, key: str, part: str) -> tuple[Path, ...]:
    """The files that a key names: one, several between commas, those of a pattern with *, ? or [], or of a folder.

    Those of a pattern or a folder in the order of their names. Of a folder that holds files of several parts, by their
    names (train-00000-of-00002.parquet), only those of the part in question. Shards that are missing are remarked on.

    Args:
        given: the value of the key.
        key: its name, for messages.
        part: train or test.

    Raises:
        InputError: under `key`: there are no such files.
    """
    try:
        found = tuple(_found(given, key, part))
    except OSError as error:
        raise InputError(key, given, f"cannot be read: {error.strerror or error}") from None
    if twice := next((path for path in found if found.count(path) > 1), None):
        raise InputError(key, given, f"names {twice.name} twice")
    remark(found)
    return found


def _found(given: str, key: str, part: str) -> Iterator[Path]:
    path = expanded(given, key)
    if path.is_dir():
        yield from _of_folder(path, given, key, part)
    elif path.exists():
        try:
            must_be_file(path)
        except ValueError as error:
            raise InputError(key, given, str(error)) from None
        yield path
    elif "," in given:
        for one in given.split(","):
            yield from _found(one.strip(), key, part)
    else:
        there = sorted(map(Path, glob.glob(str(path), recursive=True))) if glob.has_magic(str(path)) else []
        files = [one for one in there if one.is_file()]
        if not files:
            raise InputError(key, given, "there is no such file")
        yield from files


def _of_folder(folder: Path, given: str, key: str, part: str) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".parquet" and path.name[0] != ".")
    if not files:
        raise InputError(key, given, "there are no .parquet files in this folder")
    told = {path: set(PART.findall(path.name.lower())) for path in files}
    if not any(told.values()):
        return files
    for words in WORDS[part]:
        if chosen := [path for path in files if told[path] & set(words)]:
            if words[0] != part:
                note(f"{given}: there is no {part} file in it; {words[0]} files are taken")
            return chosen
    raise InputError(
        key, given, f"by their names none of its files is for {part}: {', '.join(p.name for p in files)[:200]}"
    )


def remark(files: Sequence[Path]) -> None:
    """Say which shards of a data set are not among these files."""
    groups: dict[tuple[Path, str, int], set[int]] = {}
    for path in files:
        if form := SHARD.fullmatch(path.name):
            place = path.parent, form["name"], int(form["total"])
            groups.setdefault(place, set()).add(int(form["number"]))
    for (folder, name, total), numbers in groups.items():
        if len(numbers) < total:
            beside = [
                path for path in folder.glob("*") if (form := SHARD.fullmatch(path.name)) and form["name"] == name
            ]
            there = f"{len(beside)} lie in {folder}" if len(beside) > len(numbers) else "the others are not beside it"
            note(f"{name}: only {len(numbers)} of {total} shards are read; {there}")


@lru_cache(maxsize=64)
def note(text: str) -> None:
    """Say something once in a process."""
    log.warning(text)


def stamp(paths: Sequence[Path]) -> Stamp:
    """Name, size and time of change of files."""
    return tuple((str(path), s.st_size, s.st_mtime_ns) for path in paths if (s := path.stat()))


def read_parquet(
    paths: Sequence[Path], image_columns: tuple[str, ...], label_column: str, key: str, given: str
) -> Split:
    """Labelled images of one file after the other: a column struct(bytes, path), or plain bytes, and a column of whole
    numbers, of the same types in all.

    Files that have not changed are read once in a process. The arrays are read-only.

    Args:
        paths: of the files, at least one.
        image_columns: the column of the images; the first that is there.
        label_column: the column of the labels.
        key: that named the files, for messages.
        given: its value.

    Raises:
        InputError: under `key`: a file is missing or unreadable, lacks a column, or holds something else.
    """
    try:
        return _read(tuple(paths), image_columns, label_column, stamp(paths))
    except FileNotFoundError:
        raise InputError(key, given, "there is no such file") from None
    except ValueError as error:
        raise InputError(key, given, str(error)) from None


@lru_cache(maxsize=4)
def _read(paths: tuple[Path, ...], image_columns: tuple[str, ...], label_column: str, changed: Stamp) -> Split:
    files: list[bytes] = []
    ends, labels, types = [], [], None
    for path in paths:
        try:
            table, mine = _table(path, image_columns, label_column)
            if types is not None and mine != types:
                raise ValueError(f"has the columns {_typed(mine)}, {paths[0].name} has {_typed(types)}")
            labels.append(_numbers(table[label_column], label_column))
            files += _image_bytes(table[table.column_names[0]], table.column_names[0])
        except ValueError as error:
            raise ValueError(f"{path.name} {error}" if len(paths) > 1 else str(error)) from None
        types = types or mine
        ends.append(len(files))
    if not files:
        raise ValueError("has no rows")

    def name(row: int) -> str:
        place = int(np.searchsorted(ends, row, side="right"))
        begin = ends[place - 1] if place else 0
        return f"the image in row {row - begin}" + f" of {paths[place].name}" * (len(paths) > 1)

    return Split(decode_kept(files, name), np.concatenate(labels)).read_only()


def _table(path: Path, image_columns: tuple[str, ...], label_column: str) -> tuple[Any, dict[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            there = file.schema_arrow.names
            image_column = next((column for column in image_columns if column in there), image_columns[0])
            for column in (image_column, label_column):
                if column not in there:
                    raise ValueError(f"has no column {column!r}; it has {', '.join(there)}")
            table = file.read(columns=[image_column, label_column]).select([image_column, label_column])
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"is no Parquet file that can be read ({str(error).splitlines()[0]})") from None
    return table, {column: str(table[column].type) for column in (image_column, label_column)}


def _typed(types: dict[str, str]) -> str:
    return " and ".join(f"{column} ({kind})" for column, kind in types.items())


def _numbers(labels: Any, column: str) -> np.ndarray:
    import pyarrow as pa

    if not pa.types.is_integer(labels.type) or labels.null_count:
        held = f"{labels.type}{' with gaps' * bool(labels.null_count)}"
        raise ValueError(f"column {column!r} is {held}, must be a whole number in each row")
    numbers: np.ndarray = labels.to_numpy().astype(np.int64)
    if len(numbers) and numbers.min() < 0:
        raise ValueError(f"column {column!r} has the label {numbers.min()}; labels count from 0")
    return numbers


def _image_bytes(column: Any, name: str) -> list[bytes]:
    import pyarrow as pa

    chunks = column.chunks
    if pa.types.is_struct(column.type) and (field := column.type.get_field_index("bytes")) >= 0:
        chunks = [chunk.flatten()[field] for chunk in chunks]
    files = [file for chunk in chunks for file in chunk.to_pylist()]
    for row, file in enumerate(files):
        if not isinstance(file, bytes):
            held = f"row {row} holds {'none' if file is None else type(file).__name__}"
            raise ValueError(f"column {name!r} must hold image files, as struct(bytes, path) or binary; {held}")
    return files
