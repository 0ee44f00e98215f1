"""Index lists in files of several forms. No form that could run code is read."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fedsam.storage.text import decoded

ROOM = 2**26  # bytes that an unpacked file may have, and for each example of the data set
FOR_EACH = 64
INDEX = {"index", "image", "image_index", "image_id", "example", "example_index", "sample", "sample_index", "position"}
CLIENT = {"client", "client_id", "client_index", "user", "user_id"}


class Wrong(ValueError):
    """A file that is not of its form; the message goes on after its name."""


def read_lists(path: Path, member: str | None, examples: int) -> list[np.ndarray]:
    """The positions of each client's examples, in the order of the clients' numbers; of any size and sign.

    Args:
        path: an .npz, .json, .csv or .txt file, all but the first also as .gz.
        member: what is to be read of it; None = all.
        examples: of the data set.

    Raises:
        Wrong: it does not hold such lists.
        OSError, EOFError, ValueError, RecursionError, MemoryError, zipfile.BadZipFile, zlib.error: it is damaged.
    """
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if kind == "npz":
        return _npz(path, member, examples)
    text = decoded(_content(path, ROOM + FOR_EACH * examples))
    if kind == "json":
        return _listed(json.loads(text, object_pairs_hook=_once), member, path.name)
    if member is not None:
        raise Wrong(f"must be without :{member}; of a .{kind} all is read")
    return _table(text) if kind == "csv" else _listed(json.loads(_as_json(text), object_pairs_hook=_once), None, "it")


def _content(path: Path, most: int) -> bytes:
    if not path.name.lower().endswith(".gz"):
        return path.read_bytes()
    with gzip.open(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise Wrong(f"unpacks to more than {most / 1e6:.0f} MB, which no split of this data set needs")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, where of two members of one name the first would be lost."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Wrong(f"has {name!r} twice; a client or a member would be lost")
        found[name] = value
    return found


def _listed(found: Any, member: str | None, name: str) -> list[np.ndarray]:
    if member is not None:
        if not isinstance(found, dict) or member not in found:
            there = ", ".join(found) if isinstance(found, dict) else "none: it is no object"
            raise Wrong(f"must name one of the members of {name} after the colon; there are {there}")
        found = found[member]
    if isinstance(found, dict):
        named = [key for key in found if not re.fullmatch(r"[0-9]+", key)]
        if named:
            choice = f"choose a member with {name}:MEMBER"
            raise Wrong(f"must map client numbers to lists, {named[0]!r} is no number; or {choice}")
        found = _in_order(found)
    if not isinstance(found, list):
        raise Wrong("must hold a list of lists, or an object from client number to list")
    for client, part in enumerate(found):
        if not isinstance(part, list):
            raise Wrong(f"client {client} must have a list of integers, not {json.dumps(part)[:40]}")
        strange = [i for i in part if type(i) is not int]
        if strange:
            raise Wrong(f"client {client} must have integers only, not {json.dumps(strange[0])[:40]}")
    # As objects, so that a number of any size reaches the range check.
    return [np.array(part, dtype=object) for part in found]


def _in_order(named: dict[str, Any]) -> list[Any]:
    """What is named by numbers, in their order."""
    numbers = sorted((int(name), name) for name in named)
    for (one, first), (other, second) in pairwise(numbers):
        if one == other:
            raise Wrong(f"has client {one} twice, as {first!r} and {second!r}")
    return [named[name] for _, name in numbers]


def _npz(path: Path, member: str | None, examples: int) -> list[np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise Wrong("is no .npz archive")
    with np.load(path, allow_pickle=False) as arrays:
        there: list[str] = arrays.files
        twice = next((name for name in there if there.count(name) > 1), None) if len(set(there)) < len(there) else None
        if twice is not None:
            raise Wrong(f"has the array {twice!r} twice")
        if member in there:
            table = _array(arrays, member, examples)
            if table.ndim != 2 or table.dtype.kind not in "iu":
                found = f"{table.dtype} {list(table.shape)}"
                alike = "; lists of unequal length fit in a .json, or as arrays 0, 1, ... for each client"
                raise Wrong(f"must be integers [clients, n], not {found}{alike}")
            return list(table)
        numbers = {name: re.fullmatch(r"(.*?)[_-]?([0-9]+)", name.removeprefix(member or "")) for name in there}
        mine = {name: found for name, found in numbers.items() if found and (not member or name.startswith(member))}
        apart = {found[1] for found in mine.values()}
        if not mine or len(apart) > 1 or (member is None and len(mine) < len(there)):
            raise Wrong(f"must name one of the arrays of {path.name} after a colon: {', '.join(there)[:200]}")
        by_number = {f"{found[2]}": name for name, found in mine.items()}
        if len(by_number) < len(mine):
            raise Wrong("has arrays of which two have the same number")
        return [_flat(arrays, name, examples) for name in _in_order(by_number)]


def _flat(arrays: Any, name: str, examples: int) -> np.ndarray:
    found = _array(arrays, name, examples)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise Wrong(f"the array {name!r} must be integers [n], not {found.dtype} {list(found.shape)}")
    return found if found.size else np.empty(0, dtype=np.int64)


def _array(arrays: Any, name: str, examples: int) -> np.ndarray:
    """An array of the archive, unless its head says that it has more entries than it can have."""
    with arrays.zip.open(f"{name}.npy" if f"{name}.npy" in arrays.zip.namelist() else name) as file:
        version = np.lib.format.read_magic(file)
        head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = head(file)
    entries = float(np.prod(np.array(shape, dtype=np.float64)))
    if entries > max(examples, ROOM) or (shape and max(shape) > ROOM):
        raise Wrong(f"the array {name!r} has {entries:.3g} entries, the data set {examples} examples")
    if kind.hasobject:
        raise Wrong(f"cannot be read: the array {name!r} is a pickle, which could run code; make it integers")
    found: np.ndarray = arrays[name]
    return found


def _table(text: str) -> list[np.ndarray]:
    """A row for each example: its position and its client."""
    first = text.partition("\n")[0]
    rows = [row for row in csv.reader(text.splitlines(), delimiter=max(",;\t", key=first.count)) if any(row)]
    if not rows:
        raise Wrong("is empty")
    index_at, client_at, head = 0, 1, [cell.strip().lower() for cell in rows[0]]
    if not all(re.fullmatch(r"-?[0-9]+", cell) for cell in head):
        places = [[at for at, cell in enumerate(head) if cell in known] for known in (INDEX, CLIENT)]
        if [len(place) for place in places] != [1, 1]:
            raise Wrong(f"must have a column index and a column client, it has {', '.join(head)[:80]}")
        ((index_at,), (client_at,)), rows = places, rows[1:]
    elif len(head) != 2:
        raise Wrong(f"must have two columns, index and client, or a head that names them; it has {len(head)}")
    found: dict[int, list[int]] = {}
    for row in rows:
        try:
            index, client = (_whole(row[at]) for at in (index_at, client_at))
        except (IndexError, ValueError):
            raise Wrong(f"must have whole numbers in each row, not {','.join(row)[:40]!r}") from None
        if client < 0:
            raise Wrong(f"has the client {client}; clients count from 0")
        found.setdefault(client, []).append(index)
    return [np.array(found[client], dtype=object) for client in sorted(found)]


def _whole(cell: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,30}", cell.strip()):
        raise ValueError(cell)
    return int(cell)


def _as_json(text: str) -> str:
    """A text {0: [1, 2] 1: [0, 3]}, such as FedML's net_dataidx_map.txt, as JSON."""
    if not re.fullmatch(r"\s*\{[0-9\s:,\[\]]*\}\s*", text):
        raise Wrong("must be {client: [positions] client: [positions] ...}, such as FedML's net_dataidx_map.txt")
    named = re.sub(r"([0-9]+)\s*:", r'"\1":', text)
    return re.sub(r",\s*([\]}])", r"\1", re.sub(r'\](?=\s*")', "],", named))
